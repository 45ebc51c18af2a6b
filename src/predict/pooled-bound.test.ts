import { describe, expect, it } from 'vitest';
import { SeededRng } from '../model/rng.js';
import { PooledBound } from './pooled-bound.js';

const rng = new SeededRng(3);
const normal = () => Math.sqrt(-2 * Math.log(1 - rng.next())) * Math.cos(2 * Math.PI * rng.next());

/** Windows of calls whose errors share a part, which is what breaks bounds that take them for independent. */
function run(bias: number, shared: number): { overflow: number; overTrue: number } {
  const bound = new PooledBound(0.02);
  const sigma = 0.6;
  let overflows = 0;
  let reserved = 0;
  let used = 0;
  const windows = 2000;
  for (let window = 0; window < windows; window++) {
    const common = shared * normal();
    const calls = Array.from({ length: 32 }, () => {
      const q50 = 100 + 400 * rng.next();
      return { q50, q95: q50 * Math.exp(1.645 * sigma), mean: q50 * Math.exp(sigma ** 2 / 2) };
    });
    const lengths = calls.map(({ q50 }) => bias * q50 * Math.exp(common + sigma * normal()));
    const tokens = bound.reserve(calls);
    const truth = lengths.reduce((sum, each) => sum + each, 0);
    calls.forEach((call, index) => {
      bound.observe(call, lengths[index]!);
    });
    bound.observeNode(truth > tokens);
    if (window < 200) continue;
    overflows += Number(truth > tokens);
    reserved += tokens;
    used += truth;
  }
  return { overflow: overflows / (windows - 200), overTrue: reserved / used };
}

describe('PooledBound', () => {
  it.each([
    ['independent errors', 1, 0],
    ['errors that go together', 1, 0.3],
    ['predictions that are half of the truth', 2, 0.1],
  ])('overflows as seldom as it should with %s', (_, bias, shared) => {
    const { overflow, overTrue } = run(bias, shared);
    expect(overflow).toBeGreaterThan(0.005);
    expect(overflow).toBeLessThan(0.035);
    expect(overTrue).toBeLessThan(2.2);
  });

  it('holds less for all than their bounds add up to', () => {
    const calls = Array.from({ length: 64 }, () => ({ mean: 120, q50: 100, q95: 300 }));
    expect(new PooledBound().reserve(calls)).toBeLessThan(64 * 300 * 0.6);
  });
});
