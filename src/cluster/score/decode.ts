import { leasesOf } from '../engine-record.js';
import type { EngineScorer } from './scorer.js';

/** The answer itself: slower on a slower GPU, in a larger batch, and beside longer contexts. */
export const DECODE: EngineScorer = {
  name: 'decode',
  delayMs({ prediction }, engine) {
    const { stepMs, stepMsPerSequence, stepMsPerContextToken } = engine.costs;
    const contextTokens = engine.view.reservedKvTokens + engine.pendingKvTokens;
    const oneStepMs = stepMs + stepMsPerSequence * leasesOf(engine) + stepMsPerContextToken * contextTokens;
    return prediction.outputTokens.q50 * oneStepMs * engine.slowness;
  },
};
