import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jainIndex, quantile, summarize, summarizeWeighted } from './stats.js';

const values = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 60 });
const share = fc.double({ min: 0, max: 1, noNaN: true });

describe('quantile', () => {
  it('stays within the values, grows with q and does not care about order', () => {
    fc.assert(
      fc.property(values, share, share, (some, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const atLow = quantile(some, low)!;
        const atHigh = quantile(some, high)!;
        expect(atLow).toBeLessThanOrEqual(atHigh);
        expect(atLow).toBeGreaterThanOrEqual(Math.min(...some));
        expect(atHigh).toBeLessThanOrEqual(Math.max(...some));
        expect(quantile([...some].reverse(), low)).toBe(atLow);
      }),
    );
  });

  it('meets every order statistic at its rank', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 2, maxLength: 40 }), (some) => {
        const sorted = [...some].sort((a, b) => a - b);
        sorted.forEach((value, rank) => {
          expect(quantile(some, rank / (sorted.length - 1))).toBeCloseTo(value, 6);
        });
      }),
    );
  });
});

describe('summarizeWeighted', () => {
  it('has the mean, spread and ends of the same values written out', () => {
    const weighted = fc.array(
      fc.record({ value: fc.integer({ min: 0, max: 100 }), weight: fc.integer({ min: 1, max: 5 }) }),
      {
        minLength: 1,
        maxLength: 20,
      },
    );
    fc.assert(
      fc.property(weighted, (some) => {
        const plain = summarize(some.flatMap(({ value, weight }) => new Array<number>(weight).fill(value)));
        const pooled = summarizeWeighted(some);
        expect(pooled.count).toBe(plain.count);
        expect(pooled.mean).toBeCloseTo(plain.mean!, 6);
        expect(pooled.std).toBeCloseTo(plain.std!, 6);
        expect([pooled.min, pooled.max]).toEqual([plain.min, plain.max]);
        expect(some.map(({ value }) => value)).toContain(pooled.p95);
      }),
    );
  });
});

describe('jainIndex', () => {
  it('lies between 1/n and 1, and is 1 for equal shares', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 30 }), (shares) => {
        const index = jainIndex(shares);
        if (shares.every((value) => value === 0)) {
          expect(index).toBeUndefined();
        } else {
          expect(index).toBeGreaterThanOrEqual(1 / shares.length - 1e-12);
          expect(index).toBeLessThanOrEqual(1 + 1e-12);
        }
        expect(jainIndex(shares.map(() => 7))).toBeCloseTo(1, 12);
      }),
    );
  });
});
