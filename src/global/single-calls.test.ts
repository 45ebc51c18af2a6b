import { describe, expect, it } from 'vitest';
import { SingleCalls } from './single-calls.js';

const ALLOWED_MS = 8_000;

/** So many single calls of which each has eight seconds. */
function singleCalls(count = 100): SingleCalls {
  const calls = new SingleCalls();
  for (let index = 0; index < count; index++) calls.began(ALLOWED_MS, 1, 0);
  return calls;
}

/** The share of the seats after so many calls that took so long each. */
function shareAfter(calls: SingleCalls, count: number, serviceMs: number): number {
  for (let index = 0; index < count; index++) calls.ended(serviceMs, ALLOWED_MS, 0);
  return calls.seatShare;
}

/** Are they one, where the last in line waits so long? */
function isFlood(calls: SingleCalls, waitMs: number): boolean {
  calls.updateFlood(waitMs);
  return calls.flooded;
}

describe('SingleCalls', () => {
  it('are a flood while the last in line would be late, and until clearly fewer wait', () => {
    const calls = singleCalls();
    const seen = [7_999, 8_001, 6_001, 5_999, 7_000].map((waitMs) => isFlood(calls, waitMs));
    expect(seen).toEqual([false, true, true, false, false]);
  });

  it('are none while few have come, nor where workflows go on', () => {
    expect(isFlood(singleCalls(31), 1e6)).toBe(false);
    expect(isFlood(singleCalls(32), 1e6)).toBe(true);
    const chains = singleCalls();
    for (let index = 0; index < 20; index++) chains.wentOn(0);
    expect(isFlood(chains, 1e6)).toBe(false);
    // A first call after which much is expected is no single one either.
    const planners = new SingleCalls();
    for (let index = 0; index < 100; index++) planners.began(ALLOWED_MS, 0.5, 0);
    expect(isFlood(planners, 1e6)).toBe(false);
  });

  it('follow what workflows are allowed', () => {
    const calls = singleCalls();
    for (let index = 0; index < 500; index++) calls.began(100, 1, 0);
    expect(calls.state().allowedMs).toBeCloseTo(100, -1);
    expect(isFlood(calls, 200)).toBe(true);
  });

  it('get fewer seats in a flood while most of them take too long, and all again when it is over', () => {
    const calls = singleCalls();
    calls.updateFlood(1e6);
    expect(shareAfter(calls, 100, 0.5 * ALLOWED_MS)).toBeCloseTo(0.37, 2);
    expect(shareAfter(calls, 1_000, 0.5 * ALLOWED_MS)).toBe(1 / 16);
    expect(shareAfter(calls, 100, 0.4 * ALLOWED_MS)).toBeCloseTo(0.17, 2);
    calls.updateFlood(0);
    expect(shareAfter(calls, 1_000, 0.9 * ALLOWED_MS)).toBe(1);
  });

  it('settle where half of the calls take too long', () => {
    const calls = singleCalls();
    calls.updateFlood(1e6);
    // Twice as many at once take twice as long; with all seats the middle one takes 1.8 times as long as it may.
    const spread = [0.5, 0.7, 0.9, 1.1, 1.4, 2];
    for (let turn = 0; turn < 2_000; turn++) {
      calls.ended(0.81 * calls.seatShare * spread[turn % spread.length]! * ALLOWED_MS, ALLOWED_MS, 0);
    }
    expect(calls.seatShare).toBeGreaterThan(0.45);
    expect(calls.seatShare).toBeLessThan(0.65);
  });

  it('hand on what they know, and learn nothing more before they are told to', () => {
    const asked = singleCalls();
    asked.updateFlood(1e6);
    shareAfter(asked, 50, ALLOWED_MS);
    const replayed = new SingleCalls(asked.state(), 1_000);
    expect(replayed.state()).toEqual(asked.state());
    replayed.began(1e9, 0, 999);
    replayed.wentOn(999);
    replayed.updateFlood(1e6);
    replayed.ended(ALLOWED_MS, ALLOWED_MS, 999);
    expect(replayed.state()).toEqual(asked.state());
    replayed.ended(ALLOWED_MS, ALLOWED_MS, 1_000);
    expect(replayed.seatShare).toBeLessThan(asked.seatShare);
  });
});
