import type { EngineScorer } from './scorer.js';

/** Prefill of the prompt tokens that the engine has not cached, after the prefills that are already under way there. */
export const UNCACHED_PREFILL: EngineScorer = {
  name: 'prefill',
  delayMs({ stage, cachedTokens }, engine) {
    const uncachedTokens = Math.max(0, stage.promptTokens - (cachedTokens.get(engine) ?? 0));
    return (uncachedTokens + engine.view.pendingPrefillTokens) * engine.costs.prefillMsPerToken * engine.slowness;
  },
};
