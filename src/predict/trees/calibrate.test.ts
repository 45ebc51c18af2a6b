import { describe, expect, it } from 'vitest';
import { randomEnsemble } from '../../../test/random-ensemble.js';
import { SeededRng } from '../../model/rng.js';
import { fitPlatt, withScoreLine } from './calibrate.js';
import { rawScore } from './evaluate.js';

/** Labels drawn with the chance that the line gives to each score. */
function drawn(slope: number, intercept: number, count = 20_000): { scores: Float64Array; labels: Float64Array } {
  const rng = new SeededRng(4);
  const scores = Float64Array.from({ length: count }, () => rng.next() * 8 - 4);
  const labels = scores.map((score) => (rng.next() < 1 / (1 + Math.exp(-(slope * score + intercept))) ? 1 : 0));
  return { scores, labels };
}

describe('fitPlatt', () => {
  it.each([
    [1, 0],
    [0.4, 0.3],
    [2, -3],
    [-1, 1],
  ])('finds slope %f and intercept %f again', (slope, intercept) => {
    const { scores, labels } = drawn(slope, intercept);
    const line = fitPlatt(scores, labels);
    expect(Math.abs(line.slope - slope)).toBeLessThan(0.08);
    expect(Math.abs(line.intercept - intercept)).toBeLessThan(0.12);
  });

  const LOW = [0, 0.5] as const;
  const HIGH = [0.5, 1] as const;
  it.each<[string, number[], number[], (readonly [number, number])[]]>([
    ['labels that the score separates', [-2, -1, 1, 2], [0, 0, 1, 1], [LOW, LOW, HIGH, HIGH]],
    ['one kind of label', [-2, -1, 1, 2], [1, 1, 1, 1], [HIGH, HIGH, HIGH, HIGH]],
    // Three ones of four, each label pulled in by the prior.
    ['one score', [3, 3, 3, 3], [0, 1, 1, 1], [[0.65, 0.72]]],
    ['nothing', [], [], []],
  ])('has a finite answer for %s', (_, scores, labels, expected) => {
    const { slope, intercept } = fitPlatt(Float64Array.from(scores), Float64Array.from(labels));
    expect(Number.isFinite(slope) && Number.isFinite(intercept)).toBe(true);
    const probabilities = scores.map((score) => 1 / (1 + Math.exp(-(slope * score + intercept))));
    probabilities.forEach((probability, row) => {
      if (expected[row] === undefined) return;
      expect(probability).toBeGreaterThan(expected[row][0]);
      expect(probability).toBeLessThan(expected[row][1]);
    });
  });
});

describe('withScoreLine', () => {
  it('moves the score and nothing else', () => {
    const ensemble = randomEnsemble(new SeededRng(1), { trees: 4, leaves: 5, features: 2, link: 'logistic' });
    const moved = withScoreLine(ensemble, { slope: 0.5, intercept: -2 });
    for (const row of [Float64Array.of(0, 1), Float64Array.of(Number.NaN, -1)]) {
      expect(rawScore(moved, row, 0)).toBeCloseTo(0.5 * rawScore(ensemble, row, 0) - 2, 5);
    }
    expect(moved.link).toBe('logistic');
  });
});
