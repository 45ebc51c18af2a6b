import { isRunning } from '../engine-record.js';
import type { EngineScorer } from './scorer.js';

/** Until the model's weights are in place and the engine serves. */
export const READY_TIME: EngineScorer = {
  name: 'ready',
  delayMs: (_request, engine) => (isRunning(engine) ? 0 : engine.view.readyInMs),
};
