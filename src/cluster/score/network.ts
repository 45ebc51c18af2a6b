import type { EngineScorer } from './scorer.js';

/** The round trip to the node. */
export const NETWORK: EngineScorer = {
  name: 'network',
  delayMs: (request, engine) => request.rttMs(engine.view.spec.nodeId),
};
