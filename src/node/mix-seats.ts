import { type CallMix, seatsForMix } from '../engine/seats.js';
import { stepShapeOf } from '../engine/step-shape.js';
import { type StepCost, stepCostOf } from '../engine/step-time.js';
import type { EngineSpec, LeaseUse } from '../model/fleet.js';

/** Weight of the newest call in the running means: some hundred calls decide. */
const WEIGHT = 0.01;
/** Calls before anything is said, and between two looks. */
const LEAST_CALLS = 64;
const LOOK_EVERY = 16;

/** Of one data-parallel rank. */
interface Sizing {
  readonly ranks: number;
  readonly cost: StepCost;
  readonly tpotMs: number;
  readonly maxSeats: number;
  readonly usualSeats: number;
}

/**
 * How many sequences of the calls that really come an engine can run with steps that still meet the TPOT target. Its specification assumes five prompt tokens for each that is written; with code completion there are
 * seventy, and every one of them lengthens the steps of all others. Learns nothing where the target, the model or the GPU is not known, nor from calls that do not tell how much of their prompts was cached.
 */
export class MixSeats implements CallMix {
  /** Those of the specification until enough calls have ended. */
  seats: number;
  /** What seats are sized by; undefined where they cannot be. */
  private readonly sizing: Sizing | undefined;
  private calls = 0;
  promptTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;

  constructor(spec: EngineSpec) {
    const { tpotMs, maxNumSeqs, dataParallel: ranks = 1 } = spec;
    this.seats = Math.min(spec.seats, maxNumSeqs);
    const shape = stepShapeOf(spec);
    if (!shape || tpotMs === undefined) return;
    const cost = stepCostOf(shape);
    this.sizing = { ranks, cost, tpotMs, maxSeats: maxNumSeqs / ranks, usualSeats: spec.seats / ranks };
  }

  /** A call has ended, with what it used. */
  ended({ promptTokens, cachedTokens, outputTokens, completed }: LeaseUse): void {
    if (!this.sizing || !completed || !promptTokens || cachedTokens === undefined || !outputTokens) return;
    this.calls += 1;
    // Plain means at first.
    const weight = Math.max(WEIGHT, 1 / this.calls);
    this.promptTokens += weight * (promptTokens - this.promptTokens);
    this.cachedTokens += weight * (cachedTokens - this.cachedTokens);
    this.outputTokens += weight * (outputTokens - this.outputTokens);
    if (this.calls < LEAST_CALLS || this.calls % LOOK_EVERY > 0) return;
    this.seats = this.sizing.ranks * seatsForMix(this.sizing.cost, this, this.sizing);
  }
}
