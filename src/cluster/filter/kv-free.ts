import { freeKvTokens } from '../engine-record.js';
import type { EngineFilter } from './filter.js';

/** The calibrated bound of the stage fits what the engine has not promised yet; what it keeps for the stage's own workflow is room too, where it does: it may have been asked in vain. */
export const KV_FREE: EngineFilter = {
  name: 'kv',
  passes: ({ prediction, kept }, engine) =>
    prediction.kvTokens.bound <=
    freeKvTokens(engine) + (kept?.engine === engine ? Math.min(kept.tokens, engine.view.keptKvTokens ?? 0) : 0),
};
