import type { StepCost } from './step-time.js';

/**
 * Seats of an engine: the largest batch whose decode step still meets `tpotMs` when its members have `meanContext` tokens each,
 * at least 1 and at most `maxSeats`. With `prefillTokens` every step also carries that much prefill (the interference that a
 * steady inflow of prompts causes); without, the steps only decode.
 */
export function seatsForTpot(
  cost: StepCost,
  meanContext: number,
  tpotMs: number,
  maxSeats: number,
  prefillTokens = 0,
): number {
  const meets = (seats: number) =>
    cost.stepMs({
      decodeSeqs: seats,
      contextTokens: seats * meanContext,
      prefillTokens,
      prefillPairs: prefillTokens * prefillTokens,
      prefillSeqs: 0,
    }) <= tpotMs;
  // A step only gets longer with every further sequence, so the border is found by bisection.
  let met = 1;
  let missed = maxSeats + 1;
  while (missed - met > 1) {
    const middle = (met + missed) >> 1;
    if (meets(middle)) met = middle;
    else missed = middle;
  }
  return met;
}
