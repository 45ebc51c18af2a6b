import type { Link, TreeEnsemble } from './types.js';

/**
 * The prediction of one row, whose values start at `offset`. NaN is a missing value.
 *
 * `values` may hold doubles: a value counts as its float32 neighbour, as it does in ONNX Runtime.
 */
export function predictRow(ensemble: TreeEnsemble, values: Float64Array, offset: number): number {
  return applyLink(ensemble.link, rawScore(ensemble, values, offset));
}

/** {@link predictRow} of every row of a row-major table. */
export function predictBatch(ensemble: TreeEnsemble, values: Float64Array, rows: number): Float64Array {
  const predictions = new Float64Array(rows);
  for (let row = 0; row < rows; row++) predictions[row] = predictRow(ensemble, values, row * ensemble.featureCount);
  return predictions;
}

/** The sum of the leaves that a row reaches, before the link. */
export function rawScore(ensemble: TreeEnsemble, values: Float64Array, offset: number): number {
  const { roots, feature, threshold, left, right, missingLeft, leafValues } = ensemble;
  let score = ensemble.baseScore;
  for (let tree = 0; tree < roots.length; tree++) {
    let node = roots[tree]!;
    while (node >= 0) {
      const value = Math.fround(values[offset + feature[node]!]!);
      if (value <= threshold[node]!) node = left[node]!;
      else if (value > threshold[node]!) node = right[node]!;
      else node = missingLeft[node] === 1 ? left[node]! : right[node]!;
    }
    score += leafValues[~node]!;
  }
  return score;
}

export function applyLink(link: Link, score: number): number {
  return link === 'logistic' ? 1 / (1 + Math.exp(-score)) : score;
}
