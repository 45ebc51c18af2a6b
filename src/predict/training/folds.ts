import { type BinnedMatrix, binFeatures } from '../trees/bins.js';
import { rawScore } from '../trees/evaluate.js';
import { objectiveRule } from '../trees/objective.js';
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
  /** For each fold that was tried, the ensemble that had not seen it. */
  readonly tried: readonly TreeEnsemble[];
}

/** Some of the rows of a table with their own bins: alone, and in each fold that was tried. */
export interface TablePart {
  readonly rows: Int32Array;
  readonly binned: BinnedMatrix;
  readonly folds: readonly {
    /** Place among the folds of the whole table. */
    readonly index: number;
    readonly fitRows: Int32Array;
    readonly fit: BinnedMatrix;
    readonly heldRows: Int32Array;
    readonly held: FeatureMatrix;
  }[];
}

/** Rows that get trees of their own on top of an ensemble. */
export interface CorrectedPart {
  readonly trained: TrainedEnsemble;
  /** Raw scores of the rows of folds that were tried, with the correction, by row of the whole table. */
  readonly unseen: ReadonlyMap<number, number>;
}

/** A correction must take so much off the loss of what was kept back, or it is chance and not worth its time. */
const LEAST_GAIN = 0.005;

/** One table with its folds, binned once for all outputs of a model. */
export class FoldedTable {
  private readonly folds: readonly Fold[];
  private readonly all: BinnedMatrix;

  constructor(
    private readonly matrix: FeatureMatrix,
    { foldOf, folds }: FoldPlan,
    private readonly maxBins: number,
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
   *
   * @param equalLoss Losses that differ by no more than this part are equal; of equal ones the most trees are taken.
   */
  train(target: Float64Array, params: GbdtParams, equalLoss = 0): CrossFitted {
    const { weights } = this;
    const rule = objectiveRule(params);
    const losses = new Float64Array(params.trees);
    let leastLoss = 0;
    const tried = this.folds.map((fold) => {
      const heldWeights = pick(weights, fold.heldRows);
      const validation = { data: fold.held, target: pick(target, fold.heldRows), weights: heldWeights };
      const fitWeights = pick(weights, fold.fitRows);
      const trained = trainOnBins(fold.fit, pick(target, fold.fitRows), params, fitWeights, validation);
      const heldWeight = heldWeights.reduce((sum, weight) => sum + weight, 0);
      const { validationLoss } = trained;
      validation.target.forEach((value, row) => {
        leastLoss += heldWeights[row]! * rule.leastLoss(value);
      });
      for (let round = 0; round < losses.length; round++) {
        // A training that ended early stays where it is.
        losses[round]! += heldWeight * (validationLoss[round] ?? validationLoss.at(-1) ?? 0);
      }
      return trained.ensemble;
    });
    const trees = tried.length === 0 ? params.trees : mostTrees(losses, leastLoss, equalLoss);
    const unseen = new Float64Array(target.length).fill(Number.NaN);
    const cut = tried.map((ensemble) => firstTrees(ensemble, trees));
    this.folds.forEach((fold, index) => {
      fold.heldRows.forEach((row) => {
        unseen[row] = this.score(cut[index]!, row);
      });
    });
    return { trained: trainOnBins(this.all, target, { ...params, trees }, weights), unseen, tried: cut };
  }

  /** Rows that may get trees of their own. */
  part(rows: Int32Array): TablePart {
    const wanted = new Set(rows);
    const { maxBins } = this;
    const folds = this.folds.flatMap(({ fitRows, heldRows }, index) => {
      const own = {
        fitRows: fitRows.filter((row) => wanted.has(row)),
        heldRows: heldRows.filter((row) => wanted.has(row)),
      };
      if (own.fitRows.length === 0 || own.heldRows.length === 0) return [];
      const fit = binFeatures(take(this.matrix, own.fitRows), maxBins);
      return [{ index, ...own, fit, held: take(this.matrix, own.heldRows) }];
    });
    return { rows, binned: binFeatures(take(this.matrix, rows), maxBins), folds };
  }

  /**
   * Trees for a part of the rows alone, which go on from where the ensemble of all leaves them: as many as served rows that were kept back best. Undefined where
   * that was none, or hardly better than none.
   */
  correct(part: TablePart, target: Float64Array, base: CrossFitted, params: GbdtParams): CorrectedPart | undefined {
    const rule = objectiveRule(params);
    const losses = new Float64Array(params.trees + 1);
    let leastLoss = 0;
    const tried = part.folds.map(({ index, fitRows, fit, heldRows, held }) => {
      const scores = (rows: Int32Array) => Float64Array.from(rows, (row) => this.score(base.tried[index]!, row));
      const heldTarget = pick(target, heldRows);
      const startScores = scores(heldRows);
      const validation = { data: held, target: heldTarget, startScores };
      const trained = trainOnBins(fit, pick(target, fitRows), params, undefined, validation, scores(fitRows));
      const before = heldTarget.reduce((sum, value, row) => sum + rule.loss(startScores[row]!, value), 0);
      losses[0]! += before;
      leastLoss += heldTarget.reduce((sum, value) => sum + rule.leastLoss(value), 0);
      for (let round = 0; round < params.trees; round++) {
        const mean = trained.validationLoss[round] ?? trained.validationLoss.at(-1);
        losses[round + 1]! += mean === undefined ? before : heldRows.length * mean;
      }
      return { heldRows, startScores, ensemble: trained.ensemble };
    });
    const trees = losses.indexOf(Math.min(...losses));
    const isWorthIt = losses[0]! - losses[trees]! > LEAST_GAIN * (losses[0]! - leastLoss);
    if (tried.length === 0 || trees === 0 || !isWorthIt) return undefined;
    const start = Float64Array.from(part.rows, (row) => this.score(base.trained.ensemble, row));
    const final = { ...params, trees };
    const trained = trainOnBins(part.binned, pick(target, part.rows), final, undefined, undefined, start);
    const unseen = tried.flatMap(({ heldRows, startScores, ensemble }) => {
      const cut = firstTrees(ensemble, trees);
      return Array.from(heldRows, (row, at) => [row, startScores[at]! + this.score(cut, row)] as const);
    });
    return { trained, unseen: new Map(unseen) };
  }

  private score(ensemble: TreeEnsemble, row: number): number {
    return rawScore(ensemble, this.matrix.values, row * ensemble.featureCount);
  }
}

/** The greatest number of trees that does as well as the best, by the loss after each. */
export function mostTrees(losses: Float64Array, leastLoss: number, equalLoss: number): number {
  const best = Math.min(...losses);
  const enough = best + equalLoss * (best - leastLoss);
  return 1 + losses.findLastIndex((loss) => loss <= enough);
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
