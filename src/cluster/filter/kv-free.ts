import { freeKvTokens } from '../engine-record.js';
import type { EngineFilter } from './filter.js';

/** The calibrated bound of the stage fits what the engine has not promised yet. */
export const KV_FREE: EngineFilter = {
  name: 'kv',
  passes: ({ prediction }, engine) => prediction.kvTokens.bound <= freeKvTokens(engine),
};
