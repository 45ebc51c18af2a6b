import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightedQuantile } from './objective.js';

/** The first value, in order, at which the running weight passes its share. */
function bySorting(values: Float64Array, weights: Float64Array, alpha: number): number {
  const order = Array.from(values.keys()).sort((a, b) => values[a]! - values[b]!);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let running = 0;
  for (const index of order) {
    running += weights[index]!;
    if (running > total * alpha) return values[index]!;
  }
  return values[order.at(-1)!]!;
}

describe('weightedQuantile', () => {
  const row = fc.record({ value: fc.integer({ min: -9, max: 9 }), weight: fc.integer({ min: 0, max: 12 }) });

  it('is what sorting all values says, whatever the weights', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 60 }), fc.constantFrom(0.25, 0.5, 0.875), (rows, alpha) => {
        const values = Float64Array.from(rows, ({ value }) => value);
        const weights = Float64Array.from(rows, ({ weight }) => weight / 8);
        const wanted = bySorting(values, weights, alpha);
        expect(weightedQuantile(values, weights, alpha)).toBe(wanted);
      }),
      { numRuns: 500 },
    );
  });

  it('ends, at a value within a hair of the share, with weights whose sums are rounded', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 60 }), fc.constantFrom(0.3, 0.5, 0.95), (rows, alpha) => {
        const values = Float64Array.from(rows, ({ value }) => value);
        const weights = Float64Array.from(rows, ({ weight }) => weight * 0.1 + 0.07);
        const found = weightedQuantile(values.slice(), weights, alpha);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const share = (isIn: (value: number) => boolean) =>
          weights.reduce((sum, weight, index) => sum + (isIn(values[index]!) ? weight : 0), 0) / total;
        expect(share((value) => value < found)).toBeLessThanOrEqual(alpha + 1e-9);
        expect(share((value) => value <= found)).toBeGreaterThanOrEqual(alpha - 1e-9);
      }),
      { numRuns: 2000 },
    );
  });
});
