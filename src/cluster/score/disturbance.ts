import { isRunning } from '../engine-record.js';
import type { EngineScorer } from './scorer.js';

/**
 * The delay that others suffer: where room is made for an engine that is not running; and where a running engine stays awake for this stage while others wait on its GPU for models that sleep,
 * each of them for as long. Without the latter a model's second engine that is busy for no need keeps models awake nowhere else.
 */
export const DISTURBANCE: EngineScorer = {
  name: 'disturbance',
  delayMs: (_request, engine) =>
    isRunning(engine) ? engine.heldBeside * engine.leaseTime.meanMs : engine.view.disturbanceMs,
};
