import { describe, expect, it } from 'vitest';
import { nextNormal, SeededRng } from '../model/rng.js';
import type { OutputForecast } from '../model/stage.js';
import { PooledBound } from './pooled-bound.js';

const rng = new SeededRng(3);
const normal = () => nextNormal(rng);

function reserve(bound: PooledBound, calls: readonly OutputForecast[]): number {
  let [mean, variance] = [0, 0];
  for (const call of calls) {
    const moments = bound.expect(call);
    mean += moments.mean;
    variance += moments.variance;
  }
  return bound.reserve(mean, variance, calls.length);
}

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
      return { kind: 'coder', q50, q95: q50 * Math.exp(1.645 * sigma), mean: q50 * Math.exp(sigma ** 2 / 2) };
    });
    const lengths = calls.map(({ q50 }) => bias * q50 * Math.exp(common + sigma * normal()));
    const tokens = reserve(bound, calls);
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
    const calls = Array.from({ length: 64 }, () => ({ kind: 'coder', mean: 120, q50: 100, q95: 300 }));
    expect(reserve(new PooledBound(), calls)).toBeLessThan((64 * 300 * 2) / 3);
  });

  it('takes the errors of many calls to even out less than those of few', () => {
    const bound = new PooledBound();
    const spread = (calls: number) => bound.reserve(0, calls, calls) / Math.sqrt(calls);
    expect(spread(256) / spread(1)).toBeCloseTo(Math.sqrt(2.024 / 1.004));
    expect(spread(64) / spread(16)).toBeCloseTo(Math.sqrt(1.256 / 1.064));
    // Still less for each of them the more there are.
    expect(spread(256) / Math.sqrt(256)).toBeLessThan(spread(16) / Math.sqrt(16) / 2);
  });

  it('holds more while it knows few calls', () => {
    const bound = new PooledBound();
    const margin = () => bound.reserve(0, 1, 1) / Math.sqrt(1.004);
    expect(margin()).toBeCloseTo(4.5);
    // As far off as they were said to be.
    for (let call = 0; call < 700; call++) bound.observe({ kind: 'coder', mean: 100, q50: 90, q95: 200 }, 100);
    expect(margin()).toBeCloseTo(4, 1);
    for (let call = 0; call < 9000; call++) bound.observe({ kind: 'coder', mean: 100, q50: 90, q95: 200 }, 100);
    expect(margin()).toBeCloseTo(3.5);
  });

  it('learns for each kind of call how far it is off, and corrects the others by all', () => {
    const bound = new PooledBound();
    const forecast = (kind: string) => ({ kind, mean: 100, q50: 90, q95: 200 });
    for (let call = 0; call < 400; call++) {
      bound.observe(forecast('short'), 50);
      bound.observe(forecast('long'), 200);
    }
    expect(bound.expect(forecast('short')).mean).toBeCloseTo(50, -1);
    expect(bound.expect(forecast('long')).mean).toBeCloseTo(200, -1);
    expect(bound.expect(forecast('new')).mean).toBeCloseTo(125, -1);
  });

  it('goes on after a restart where it was', () => {
    const bound = new PooledBound();
    const forecast = { kind: 'coder', mean: 100, q50: 90, q95: 200 };
    for (let call = 0; call < 50; call++) bound.observe(forecast, 150);
    bound.observeNode(true);
    const restored = new PooledBound();
    restored.restore(JSON.parse(JSON.stringify(bound.state())));
    expect(reserve(restored, [forecast])).toBeCloseTo(reserve(bound, [forecast]), 6);
    expect(reserve(restored, [forecast])).not.toBeCloseTo(reserve(new PooledBound(), [forecast]), 0);
  });
});
