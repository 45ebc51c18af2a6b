import type { EngineRecord } from '../engine-record.js';
import type { PlaceRequest } from '../place-request.js';

/**
 * One reason why an engine would be slower, in milliseconds of expected delay, 0 or more. Terms are added, so that two scorers
 * must not count the same delay. Pure and constant in time.
 */
export interface EngineScorer {
  /** Shown in explanations as the name of the term. */
  readonly name: string;
  delayMs(request: PlaceRequest, engine: EngineRecord): number;
}
