import { isRunning, isWakeable } from '../engine-record.js';
import type { EngineFilter } from './filter.js';

/** The engine serves, or sleeps and can be woken. One that is down, failed or draining takes nothing new. */
export const HEALTHY: EngineFilter = {
  name: 'healthy',
  passes: (_request, engine) => isRunning(engine) || isWakeable(engine),
};
