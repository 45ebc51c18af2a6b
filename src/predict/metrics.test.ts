import { describe, expect, it } from 'vitest';
import { areaUnderRoc, kendallTau, meanAbsoluteError, medianOf, pinballLoss, rSquared } from './metrics.js';

describe('the figures', () => {
  it('say what they are called', () => {
    expect(meanAbsoluteError([1, 5], [2, 2])).toBe(2);
    expect(pinballLoss(0.95, [10, 10], [20, 0])).toBeCloseTo((0.95 * 10 + 0.05 * 10) / 2);
    expect(rSquared([2, 2], [1, 3])).toBe(0);
    expect(rSquared([1, 3], [1, 3])).toBe(1);
    const constant = Array<number>(1600).fill(Math.log1p(100));
    expect(rSquared(constant.with(0, 0), constant)).toBe(0);
    expect([medianOf([]), medianOf([3, 1, 2])]).toEqual([undefined, 2]);
  });

  it('AUC: pairs in the right order, halves for ties', () => {
    expect(areaUnderRoc([0.1, 0.9, 0.5, 0.5], [false, true, true, false])).toBeCloseTo(3.5 / 4);
    expect(areaUnderRoc([1, 2], [true, true])).toBeUndefined();
  });

  it('τ: agreement of orders, also of long lists', () => {
    expect(kendallTau([1, 2, 3], [10, 20, 30])).toBe(1);
    expect(kendallTau([1, 2, 3], [3, 2, 1])).toBe(-1);
    expect(kendallTau([1, 1], [1, 2])).toBeUndefined();
    expect(kendallTau([1, 2, 3, 4], [1, 2, 4, 3])).toBeCloseTo(4 / 6);
    const long = Array.from({ length: 30_000 }, (_, index) => (index * 7919) % 30_011);
    expect(kendallTau(long, long)).toBe(1);
  });
});
