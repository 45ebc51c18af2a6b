import type { BinnedColumn } from './bins.js';
import { SLOTS } from './histogram.js';

/** LightGBM's `min_sum_hessian_in_leaf`: keeps a leaf of certain examples from an endless score. */
const MIN_HESSIAN = 1e-3;

const ROUNDING = 1e-12;

export interface LeafSums {
  readonly gradient: number;
  readonly hessian: number;
  readonly rows: number;
}

export interface Split {
  readonly column: number;
  /** Rows of bins up to this one go left. */
  readonly bin: number;
  readonly missingLeft: boolean;
  readonly gain: number;
  readonly leftSums: LeafSums;
}

export interface SplitLimits {
  readonly minLeafRows: number;
  readonly lambdaL2: number;
}

/** The best split of a leaf on one column, if one beats `minGain`. Missing values are tried on both sides. */
export function bestSplit(
  histogram: Float64Array,
  offset: number,
  columnIndex: number,
  column: BinnedColumn,
  sums: LeafSums,
  limits: SplitLimits,
  minGain: number,
): Split | undefined {
  const missing = column.missingBin === undefined ? -1 : offset + column.missingBin * SLOTS;
  const missingRows = missing < 0 ? 0 : histogram[missing + 2]!;
  const best = scan(histogram, offset, columnIndex, column, sums, limits, minGain, -1);
  if (missingRows > 0) {
    return scan(histogram, offset, columnIndex, column, sums, limits, best?.gain ?? minGain, missing) ?? best;
  }
  // Rows say nothing about missing values here: should one come, it goes with the majority.
  return best && { ...best, missingLeft: best.leftSums.rows * 2 >= sums.rows };
}

/** Tries every limit of the column; the slots at `startWith` (if ≥ 0) count as left from the start. */
function scan(
  histogram: Float64Array,
  offset: number,
  columnIndex: number,
  column: BinnedColumn,
  sums: LeafSums,
  limits: SplitLimits,
  minGain: number,
  startWith: number,
): Split | undefined {
  const { minLeafRows, lambdaL2 } = limits;
  const missingLeft = startWith >= 0;
  let gradient = missingLeft ? histogram[startWith]! : 0;
  let hessian = missingLeft ? histogram[startWith + 1]! : 0;
  let rows = missingLeft ? histogram[startWith + 2]! : 0;
  const parentScore = leafScore(sums.gradient, sums.hessian, lambdaL2);
  // Sums of the same rows in another order differ in their last digits; such a gain is none.
  let bestGain = Math.max(minGain, ROUNDING * parentScore);
  let bestBin = -1;
  let bestGradient = 0;
  let bestHessian = 0;
  let bestRows = 0;
  // The last bin of present values is a limit only when missing values are what is left on the other side.
  const presentBins = column.limits.length + 1;
  const tries = missingLeft || column.missingBin === undefined ? presentBins - 1 : presentBins;
  for (let bin = 0; bin < tries; bin++) {
    const slot = offset + bin * SLOTS;
    gradient += histogram[slot]!;
    hessian += histogram[slot + 1]!;
    rows += histogram[slot + 2]!;
    if (rows < minLeafRows || hessian < MIN_HESSIAN) continue;
    const rightHessian = sums.hessian - hessian;
    if (sums.rows - rows < minLeafRows || rightHessian < MIN_HESSIAN) break;
    const gain =
      leafScore(gradient, hessian, lambdaL2) +
      leafScore(sums.gradient - gradient, rightHessian, lambdaL2) -
      parentScore;
    if (gain <= bestGain) continue;
    bestGain = gain;
    bestBin = bin;
    bestGradient = gradient;
    bestHessian = hessian;
    bestRows = rows;
  }
  if (bestBin < 0) return undefined;
  return {
    column: columnIndex,
    bin: bestBin,
    missingLeft,
    gain: bestGain,
    leftSums: { gradient: bestGradient, hessian: bestHessian, rows: bestRows },
  };
}

/** Twice the loss that the best constant takes off a leaf. */
function leafScore(gradient: number, hessian: number, lambdaL2: number): number {
  return (gradient * gradient) / (hessian + lambdaL2);
}

/** The constant that takes most off the loss of a leaf. */
export function leafValue(sums: LeafSums, lambdaL2: number): number {
  return -sums.gradient / (sums.hessian + lambdaL2);
}
