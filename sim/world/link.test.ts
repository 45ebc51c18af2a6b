import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { EventLoop } from '../event-loop.js';
import type { LinkFaults } from '../types.js';
import { Link } from './link.js';

/** Sends a message each millisecond for so long, and tells what arrived when. */
function arrivals(count: number, faults: LinkFaults | undefined, seed = 1): { message: number; atMs: number }[] {
  const loop = new EventLoop();
  const link = new Link(loop, 10, faults, new SeededRng(seed));
  const got: { message: number; atMs: number }[] = [];
  for (let message = 0; message < count; message++) {
    loop.at(message, () => link.send(() => got.push({ message, atMs: loop.nowMs })));
  }
  loop.run();
  return got;
}
const GOOD: LinkFaults = { jitterMs: 0, lossRate: 0, resendMs: 200, duplicateRate: 0 };

describe('Link', () => {
  it('takes half a round trip, or no time at all', () => {
    expect(arrivals(3, undefined)).toEqual([0, 1, 2].map((message) => ({ message, atMs: message + 10 })));
    const loop = new EventLoop();
    let delivered = false;
    new Link(loop, 0, undefined, new SeededRng(1)).send(() => {
      delivered = true;
    });
    expect(delivered).toBe(true);
  });

  it('keeps the order under jitter and loss, and loses nothing for good', () => {
    const got = arrivals(2_000, { ...GOOD, jitterMs: 50, lossRate: 0.2 });
    expect(got.map(({ message }) => message)).toEqual(Array.from({ length: 2_000 }, (_, message) => message));
    const late = got.filter(({ message, atMs }) => atMs - message > 60).length;
    expect(late).toBeGreaterThan(0.2 * got.length);
  });

  it('delivers about as many twice as it should', () => {
    const got = arrivals(10_000, { ...GOOD, duplicateRate: 0.25 });
    expect(got.length / 10_000).toBeCloseTo(1.25, 1);
    expect(new Set(got.map(({ message }) => message)).size).toBe(10_000);
  });

  it('does the same again with the same seed', () => {
    const faults = { ...GOOD, jitterMs: 20, lossRate: 0.3, duplicateRate: 0.3 };
    expect(arrivals(500, faults, 3)).toEqual(arrivals(500, faults, 3));
    expect(arrivals(500, faults, 3)).not.toEqual(arrivals(500, faults, 4));
  });
});
