import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomEnsemble } from '../../../test/random-ensemble.js';
import { SeededRng } from '../../model/rng.js';
import { predictRow, rawScore } from './evaluate.js';
import { Forest, float32After } from './forest.js';

const value = fc.oneof(
  { arbitrary: fc.double({ min: -3, max: 3, noNaN: true }), weight: 5 },
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0),
);

describe('Forest', () => {
  it('says what predictRow says of each ensemble, whatever the values', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.array(fc.record({ trees: fc.integer({ min: 0, max: 8 }), leaves: fc.integer({ min: 1, max: 12 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.array(value, { minLength: 5, maxLength: 5 }),
        (seed, shapes, values) => {
          const rng = new SeededRng(seed);
          const ensembles = shapes.map((shape, index) =>
            randomEnsemble(rng, { ...shape, features: 4, link: index % 2 === 0 ? 'identity' : 'logistic' }),
          );
          // A value that lies on a threshold, or a hair beside it, decides which way its row goes.
          const threshold = ensembles[0]!.threshold[0] ?? 0;
          const row = Float64Array.from([...values, threshold, threshold * (1 + 2e-8)]).subarray(0, 7);
          const forest = new Forest(ensembles);
          const predicted = new Float64Array(ensembles.length);
          for (const offset of [0, 1, 2, 3]) {
            forest.predict(row, offset, predicted);
            expect([...predicted]).toEqual(ensembles.map((ensemble) => predictRow(ensemble, row, offset)));
            const rest = new Float64Array(ensembles.length);
            forest.predict(row, offset, rest, 1);
            expect([...rest]).toEqual([0, ...predicted.subarray(1)]);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('adds the score of what corrects an output before its link, for the outputs that are asked for', () => {
    const rng = new SeededRng(7);
    const link = (index: number) => (index === 1 ? 'logistic' : 'identity');
    const ensembles = Array.from({ length: 4 }, (_, index) =>
      randomEnsemble(rng, { trees: 5, leaves: 6, features: 3, link: link(index) }),
    );
    const forest = new Forest(ensembles);
    const row = Float64Array.of(0.3, Number.NaN, -1);
    const [plain, , byThird, byFourth] = ensembles.map((ensemble) => rawScore(ensemble, row, 0));
    const predicted = new Float64Array(2);
    forest.predict(row, 0, predicted, 0, 2, Int32Array.of(-1, 3));
    expect(predicted[0]).toBe(plain);
    const score = rawScore(ensembles[1]!, row, 0) + byFourth!;
    expect(predicted[1]).toBeCloseTo(1 / (1 + Math.exp(-score)), 12);
    forest.predict(row, 0, predicted, 0, 1, Int32Array.of(2, 3));
    expect(predicted[0]).toBeCloseTo(plain! + byThird!, 12);
    expect(predicted[1]).toBeCloseTo(1 / (1 + Math.exp(-score)), 12);
  });

  it('refuses ensembles over different features', () => {
    const rng = new SeededRng(1);
    const ensembles = [3, 4].map((features) => randomEnsemble(rng, { trees: 1, leaves: 2, features }));
    expect(() => new Forest(ensembles)).toThrow(/same features/);
  });
});

describe('float32After', () => {
  it.each([
    [0, 2 ** -149],
    [1, 1 + 2 ** -23],
    [-1, -1 + 2 ** -24],
    [Number.POSITIVE_INFINITY, Number.NaN],
  ])('after %f comes %f', (below, above) => {
    expect(float32After(below)).toBe(above);
  });
});
