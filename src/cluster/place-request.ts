import type { Prediction, Stage } from '../model/stage.js';
import type { EngineRecord, SeatLimits } from './engine-record.js';

/** One stage that looks for a place; input of the filters and scorers. */
export interface PlaceRequest {
  readonly stage: Stage;
  readonly prediction: Prediction;
  /** Engines that refused or failed this stage, and ranks that it has waited for in vain, by {@link placeName}. */
  readonly excluded: ReadonlySet<string>;
  readonly limits: SeatLimits;
  /** Prompt tokens that an engine is expected to have cached; engines that are not in it have none. */
  readonly cachedTokens: ReadonlyMap<EngineRecord, number>;
  /** Context of the stage's workflow that an engine keeps for its return. */
  readonly kept?: { readonly engine: EngineRecord; readonly tokens: number } | undefined;
  /** Round trip to a node, milliseconds. */
  rttMs(nodeId: string): number;
}
