import { type BinnedMatrix, binFeatures } from '../trees/bins.js';
import { rawScore } from '../trees/evaluate.js';
import { trainOnBins } from '../trees/train.js';
import type { FeatureMatrix, GbdtParams, TrainedEnsemble, TreeEnsemble } from '../trees/types.js';

/** Rows of a table, and which of them are tried out in which fold. */
export interface FoldPlan {
  /** Fold of each row, from 0. */
  readonly foldOf: Int32Array;
  readonly folds: readonly number[];
}

interface Fold {
  readonly fitRows: Int32Array;
  readonly fit: BinnedMatrix;
  readonly heldRows: Int32Array;
  readonly held: FeatureMatrix;
}

/** An ensemble that is trained on all rows, and what its like predicted for rows that they had not seen. */
export interface CrossFitted {
  readonly trained: TrainedEnsemble;
  /** Raw score of each row; NaN for rows of folds that were not tried. */
  readonly unseen: Float64Array;
}

/** One table with its folds, binned once for all outputs of a model. */
export class FoldedTable {
  private readonly folds: readonly Fold[];
  private readonly all: BinnedMatrix;

  constructor(
    private readonly matrix: FeatureMatrix,
    { foldOf, folds }: FoldPlan,
    maxBins: number,
    private readonly weights: Float64Array,
  ) {
    this.all = binFeatures(matrix, maxBins);
    this.folds = folds.flatMap((fold): Fold[] => {
      const rows = Array.from(foldOf.keys());
      const fitRows = Int32Array.from(rows.filter((row) => foldOf[row] !== fold));
      const heldRows = Int32Array.from(rows.filter((row) => foldOf[row] === fold));
      if (fitRows.length === 0 || heldRows.length === 0) return [];
      const fit = binFeatures(take(matrix, fitRows), maxBins);
      return [{ fitRows, fit, heldRows, held: take(matrix, heldRows) }];
    });
  }

  /**
   * Finds the number of trees at which rows that were kept back are predicted best, over all folds together, and trains as many on all rows.
   * Without folds all trees are kept.
   */
  train(target: Float64Array, params: GbdtParams): CrossFitted {
    const { weights } = this;
    const losses = new Float64Array(params.trees);
    const tried = this.folds.map((fold) => {
      const heldWeights = pick(weights, fold.heldRows);
      const validation = { data: fold.held, target: pick(target, fold.heldRows), weights: heldWeights };
      const fitWeights = pick(weights, fold.fitRows);
      const trained = trainOnBins(fold.fit, pick(target, fold.fitRows), params, fitWeights, validation);
      const heldWeight = heldWeights.reduce((sum, weight) => sum + weight, 0);
      const { validationLoss } = trained;
      for (let round = 0; round < losses.length; round++) {
        // A training that ended early stays where it is.
        losses[round]! += heldWeight * (validationLoss[round] ?? validationLoss.at(-1) ?? 0);
      }
      return trained.ensemble;
    });
    const trees = tried.length === 0 ? params.trees : 1 + losses.indexOf(Math.min(...losses));
    const unseen = new Float64Array(target.length).fill(Number.NaN);
    this.folds.forEach((fold, index) => {
      const ensemble = firstTrees(tried[index]!, trees);
      fold.heldRows.forEach((row) => {
        unseen[row] = rawScore(ensemble, this.matrix.values, row * ensemble.featureCount);
      });
    });
    return { trained: trainOnBins(this.all, target, { ...params, trees }, weights), unseen };
  }
}

function firstTrees(ensemble: TreeEnsemble, count: number): TreeEnsemble {
  return { ...ensemble, roots: ensemble.roots.slice(0, count) };
}

function take(matrix: FeatureMatrix, rows: Int32Array): FeatureMatrix {
  const width = matrix.columns.length;
  const values = new Float64Array(rows.length * width);
  rows.forEach((row, index) => {
    values.set(matrix.values.subarray(row * width, (row + 1) * width), index * width);
  });
  return { ...matrix, rows: rows.length, values };
}

function pick(values: Float64Array, rows: Int32Array): Float64Array {
  return Float64Array.from(rows, (row) => values[row]!);
}
