import { leasesOf } from '../engine-record.js';
import type { EngineScorer } from './scorer.js';

const MINUTE_MS = 60_000;

/** What an engine's own preemptions are expected to cost the stage: each makes one of its requests compute its prompt anew. */
export const PREEMPTION: EngineScorer = {
  name: 'preemption',
  delayMs({ stage, prediction }, engine) {
    const { enginePreemptions } = engine.view;
    if (enginePreemptions === 0) return 0;
    const decodeMs = prediction.outputTokens.q50 * engine.costs.stepMs;
    const expected = ((enginePreemptions / MINUTE_MS) * decodeMs) / (leasesOf(engine) + 1);
    return expected * stage.promptTokens * engine.costs.prefillMsPerToken;
  },
};
