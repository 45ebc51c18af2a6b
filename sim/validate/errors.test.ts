import { expect, it } from 'vitest';
import { quantile, summariseErrors } from './errors.js';

it('sums up errors by size, and their bias with its sign', () => {
  // Simulated 10, 20, 30, 40 % too fast and 50 % too slow.
  const pairs = [0.9, 0.8, 0.7, 0.6, 1.5].map((times) => [100 * times, 100] as const);
  const { count, median, p90, bias } = summariseErrors(pairs);
  expect(count).toBe(5);
  expect([median, p90, bias].map((value) => Number(value.toFixed(9)))).toEqual([0.3, 0.46, -0.2]);
});

it('says that nothing is known of nothing', () => {
  expect(summariseErrors([])).toEqual({ count: 0, median: Number.NaN, p90: Number.NaN, bias: Number.NaN });
  expect(quantile([7], 0.9)).toBe(7);
});
