import { type StepShape, stepCostOf } from '../../src/engine/step-time.js';

/**
 * A linear floor under the time of every step that an engine can run: a step takes at least the sum, over all that is computed in it, of these costs in milliseconds. So
 * whatever is batched with what, the time of an engine is at least the sum over its calls.
 */
export interface StepFloor {
  /** A sequence that decodes one token. */
  readonly decodeMs: number;
  /** One token of a prompt that is not in the cache, and one pair of its attention (a chunk of p tokens after k others has p (p + 2 k)). */
  readonly promptTokenMs: number;
  readonly pairMs: number;
  /** One token of context that a decoding sequence reads, and one that it holds alone: sequences that fill the KV pool share the step with few others. */
  readonly contextTokenMs: number;
  readonly heldTokenMs: number;
}

export interface FloorLimits {
  readonly maxSeqs: number;
  readonly poolTokens: number;
}

/** vLLM's token budget of a step, as in `BatchEngine`. */
export const STEP_TOKENS = 8192;
/** Prompt tokens of a step at which the floor is checked; between two of them the time of the smaller and the price of the larger count. */
const PROMPT_GRID = [
  0,
  1,
  16,
  64,
  128,
  256,
  384,
  512,
  768,
  1024,
  1536,
  2048,
  3072,
  4096,
  5120,
  6144,
  7168,
  STEP_TOKENS,
];
/** Contexts and pairs far beyond any sliding window, to read off what each further one costs. */
const FAR = 1e7;

/**
 * The floors of a shape. Reading the weights is shared by all that is in a step, so there is a choice of whom to charge for it: prompts (`promptShare` towards 1), sequences
 * that decode, or the KV memory that these hold (`heldShare` towards 1). Every choice is a valid floor; which one is the highest depends on the traffic.
 */
export function stepFloor(
  shape: StepShape,
  { maxSeqs, poolTokens }: FloorLimits,
  { promptShare, heldShare }: { readonly promptShare: number; readonly heldShare: number },
): StepFloor {
  const cost = stepCostOf(shape);
  // Of a rank: while others bring nothing to the experts, no step is shorter.
  const stepMs = (decodeSeqs: number, prefillTokens: number, contextTokens = 0, prefillPairs = 0) =>
    cost.mixedMs(decodeSeqs, contextTokens, prefillTokens, prefillPairs, 0, decodeSeqs + prefillTokens);
  const steps = PROMPT_GRID.slice(0, -1).map((fewest, index) => ({ fewest, most: PROMPT_GRID[index + 1]! }));
  const perPromptToken = Math.min(...steps.slice(1).map(({ fewest, most }) => stepMs(0, fewest) / most));
  const promptTokenMs = promptShare * perPromptToken;
  const seqs = Array.from({ length: Math.max(1, maxSeqs) }, (_, index) => index + 1);
  // What is left of the cheapest step once `charged` has been paid for it.
  const leastLeft = (charged: (decodeSeqs: number) => number, share: (decodeSeqs: number) => number) => {
    let least = Number.POSITIVE_INFINITY;
    for (const decodeSeqs of seqs) {
      const paid = charged(decodeSeqs);
      const over = share(decodeSeqs);
      // A step without a prompt, and steps with one.
      least = Math.min(least, (stepMs(decodeSeqs, 0) - paid) / over);
      for (const { fewest, most } of steps) {
        least = Math.min(least, (stepMs(decodeSeqs, Math.max(1, fewest)) - promptTokenMs * most - paid) / over);
      }
    }
    return Math.max(0, least);
  };
  const decodeMs =
    (1 - heldShare) *
    leastLeft(
      () => 0,
      (decodeSeqs) => decodeSeqs,
    );
  const left = leastLeft(
    (decodeSeqs) => decodeMs * decodeSeqs,
    () => 1,
  );
  return {
    decodeMs,
    promptTokenMs,
    pairMs: (stepMs(0, 1, 0, 2 * FAR) - stepMs(0, 1, 0, FAR)) / FAR,
    contextTokenMs: (stepMs(1, 0, 2 * FAR) - stepMs(1, 0, FAR)) / FAR,
    heldTokenMs: Number.isFinite(poolTokens) && poolTokens > 0 ? left / poolTokens : 0,
  };
}
