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
  const pairs = prefillTokens * prefillTokens;
  return largest(maxSeats, (seats) => cost.mixedMs(seats, seats * meanContext, prefillTokens, pairs, 0) <= tpotMs);
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
  mix: CallMix,
  { tpotMs, maxSeats, usualSeats }: { readonly tpotMs: number; readonly maxSeats: number; readonly usualSeats: number },
): number {
  // Asked every few calls, and nearly always the usual ones are right: one step tells.
  const usual = Math.min(usualSeats, maxSeats);
  const fewest = Math.ceil(CLEARLY_FEWER * usual);
  if (mixStepMs(cost, mix, fewest) > tpotMs) return largest(fewest, (seats) => mixStepMs(cost, mix, seats) <= tpotMs);
  if (usual === maxSeats) return usual;
  const enough = (ENOUGH_THROUGHPUT * maxSeats) / mixStepMs(cost, mix, maxSeats);
  const worth = largest(maxSeats, (seats) => seats / mixStepMs(cost, mix, seats) <= enough);
  const most = largest(maxSeats, (seats) => mixStepMs(cost, mix, seats) <= tpotMs);
  return Math.max(usual, Math.min(worth, most));
}

/** A step of so many of these calls, each of which brings its prompt once while its answer is written. */
function mixStepMs(cost: StepCost, { promptTokens, cachedTokens, outputTokens }: CallMix, seats: number): number {
  const computed = Math.max(0, promptTokens - cachedTokens);
  const prefillSeqs = seats / Math.max(1, outputTokens);
  return cost.mixedMs(
    seats,
    seats * (promptTokens + outputTokens / 2),
    prefillSeqs * computed,
    prefillSeqs * computed * (computed + 2 * cachedTokens),
    prefillSeqs,
  );
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
