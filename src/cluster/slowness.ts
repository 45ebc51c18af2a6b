import type { StepReading } from '../model/fleet.js';
import type { EngineCosts } from './engine-record.js';

/** An engine that takes less than so many times as long as its siblings is as good as they: costs and readings are not exact. */
const LEAST_SLOWNESS = 3;
/** So slow at most: one that has come to a stop is for the node to find. */
const MOST_SLOWNESS = 10;
/** How fast the usual pace of a model follows engines that are quicker than it, and those that are slower. */
const QUICKER_WEIGHT = 0.5;
const SLOWER_WEIGHT = 0.01;

/** Step times of the engines of one model, as multiples of what their costs say: of the quickest of them, nearly. Whatever is wrong with the costs of all is in it. */
export class ModelPace {
  private usual: number | undefined;

  /** How many times as long as its quick siblings an engine takes: 1 for all that differ by little, and where nothing was read. */
  slowness(reading: StepReading | undefined, costs: EngineCosts): number {
    if (!reading) return 1;
    const { stepMs, stepMsPerSequence, stepMsPerContextToken } = costs;
    const expectedMs =
      stepMs + stepMsPerSequence * (reading.sequences - 1) + stepMsPerContextToken * reading.contextTokens;
    const pace = reading.stepMs / expectedMs;
    this.usual ??= pace;
    this.usual += (pace < this.usual ? QUICKER_WEIGHT : SLOWER_WEIGHT) * (pace - this.usual);
    const slowness = pace / this.usual;
    return slowness < LEAST_SLOWNESS ? 1 : Math.min(slowness, MOST_SLOWNESS);
  }
}
