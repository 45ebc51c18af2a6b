import type { EngineRecord } from '../engine-record.js';
import type { PlaceRequest } from '../place-request.js';

/** A hard condition: an engine that does not pass must not get the stage. Pure and constant in time. */
export interface EngineFilter {
  /** Shown in explanations as what refused an engine. */
  readonly name: string;
  passes(request: PlaceRequest, engine: EngineRecord): boolean;
}
