import { isRunning } from '../engine-record.js';
import type { EngineScorer } from './scorer.js';

/** The delay that others suffer when room is made for an engine that is not running. */
export const DISTURBANCE: EngineScorer = {
  name: 'disturbance',
  delayMs: (_request, engine) => (isRunning(engine) ? 0 : engine.view.disturbanceMs),
};
