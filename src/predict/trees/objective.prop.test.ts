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

  it('ends where sums of weights differ in their last digit by the order of adding', () => {
    expect(weightedQuantile(Float64Array.of(0, 2, 0, 4, 3), Float64Array.of(0.3, 0.2, 0.2, 0.3, 0.2), 0.75)).toBe(4);
  });

  it('ends, at a value within a hair of the share, with weights whose sums are rounded', () => {
    // Equal weights, as the calls of a template have: what is wanted is then a sum of some of them, but for its last digit.
    const weight = fc.constantFrom(0.1, 0.3, 1.7);
    const value = fc.integer({ min: -9, max: 9 });
    const rows = fc.array(value, { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(rows, weight, fc.constantFrom(0.3, 0.5, 0.95), (list, each, alpha) => {
        const values = Float64Array.from(list);
        const found = weightedQuantile(values.slice(), new Float64Array(list.length).fill(each), alpha);
        const share = (isIn: (value: number) => boolean) => values.filter(isIn).length / values.length;
        expect(share((other) => other < found)).toBeLessThanOrEqual(alpha + 1e-9);
        expect(share((other) => other <= found)).toBeGreaterThanOrEqual(alpha - 1e-9);
      }),
      { numRuns: 3000 },
    );
  });
});
