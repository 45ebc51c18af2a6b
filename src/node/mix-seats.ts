import { seatsForMix } from '../engine/seats.js';
import { type StepCost, stepCostOf } from '../engine/step-time.js';
import type { EngineSpec, LeaseUse } from '../model/fleet.js';

/** Weight of the newest call in the running means: some hundred calls decide. */
const WEIGHT = 0.01;
/** Calls before anything is said, and between two looks. */
const LEAST_CALLS = 64;
const LOOK_EVERY = 16;

/**
 * How many sequences of the calls that really come an engine can run with steps that still meet the TPOT target. Its specification assumes five prompt tokens for each that is written; with code completion there are
 * seventy, and every one of them lengthens the steps of all others. Knows nothing where the target, the model or the GPU is not known, nor of calls that do not tell how much of their prompts was cached.
 */
export class MixSeats {
  /** Undefined until it is known. */
  seats: number | undefined;
  private readonly cost: StepCost | undefined;
  private calls = 0;
  promptTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;

  constructor(private readonly spec: EngineSpec) {
    const { llm, gpu, gpuIndices, weightDtype = 'bf16', kvDtype = 'bf16', tpotMs } = spec;
    if (!llm || !gpu || tpotMs === undefined) return;
    this.cost = stepCostOf({ llm, gpu, tp: Math.max(1, gpuIndices.length), weightDtype, kvDtype });
  }

  /** A call has ended, with what it used. */
  ended({ promptTokens, cachedTokens, outputTokens, completed }: LeaseUse): void {
    if (!this.cost || !completed || !promptTokens || cachedTokens === undefined || !outputTokens) return;
    this.calls += 1;
    // Plain means at first.
    const weight = Math.max(WEIGHT, 1 / this.calls);
    this.promptTokens += weight * (promptTokens - this.promptTokens);
    this.cachedTokens += weight * (cachedTokens - this.cachedTokens);
    this.outputTokens += weight * (outputTokens - this.outputTokens);
    if (this.calls < LEAST_CALLS || this.calls % LOOK_EVERY > 0) return;
    const { tpotMs, maxNumSeqs, seats } = this.spec;
    this.seats = seatsForMix(this.cost, this, { tpotMs: tpotMs!, maxSeats: maxNumSeqs, usualSeats: seats });
  }
}
