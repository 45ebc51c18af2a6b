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
  return largest(maxSeats, meets);
}

/** What calls bring and write on average, tokens. */
export interface CallMix {
  /** Cached ones included. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
}

/** Share of the throughput of a full batch that an engine should be able to reach. 3/4 and all that the target allows were tried too (docs/research/order.md). */
const ENOUGH_THROUGHPUT = 2 / 3;

/** A batch that is smaller than the usual by less than a quarter is not worth another one: the model of steps is no better than that. */
const CLEARLY_FEWER = 0.75;

/**
 * Seats for calls that are such on average and come as they go, so that one prompt for each seat is computed while one answer is written: as many as have steps of `tpotMs` at most, where that is clearly fewer than
 * `usualSeats`; else the usual ones, or as many as it takes for two thirds of the throughput of a full batch, if they meet the target too. Beyond that a call becomes slower and hardly more gets done. From 1 to
 * `maxSeats`.
 */
export function seatsForMix(
  cost: StepCost,
  { promptTokens, cachedTokens, outputTokens }: CallMix,
  { tpotMs, maxSeats, usualSeats }: { readonly tpotMs: number; readonly maxSeats: number; readonly usualSeats: number },
): number {
  const computed = Math.max(0, promptTokens - cachedTokens);
  const stepMs = (seats: number) => {
    const prefillSeqs = seats / Math.max(1, outputTokens);
    return cost.stepMs({
      decodeSeqs: seats,
      contextTokens: seats * (promptTokens + outputTokens / 2),
      prefillTokens: prefillSeqs * computed,
      prefillPairs: prefillSeqs * computed * (computed + 2 * cachedTokens),
      prefillSeqs,
    });
  };
  const meets = (seats: number) => stepMs(seats) <= tpotMs;
  // Asked every few calls, and nearly always the usual ones are right: one step tells.
  const usual = Math.min(usualSeats, maxSeats);
  const fewest = Math.ceil(CLEARLY_FEWER * usual);
  if (!meets(fewest)) return largest(fewest, meets);
  if (usual === maxSeats) return usual;
  const enough = (ENOUGH_THROUGHPUT * maxSeats) / stepMs(maxSeats);
  const worth = largest(maxSeats, (seats) => seats / stepMs(seats) <= enough);
  return Math.max(usual, Math.min(worth, largest(maxSeats, meets)));
}

/** The largest number from 1 to `most` that meets; a step only gets longer with every further sequence, so the border is found by bisection. */
function largest(most: number, meets: (seats: number) => boolean): number {
  let met = 1;
  let missed = most + 1;
  while (missed - met > 1) {
    const middle = (met + missed) >> 1;
    if (meets(middle)) met = middle;
    else missed = middle;
  }
  return met;
}
