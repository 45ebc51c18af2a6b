/**
 * A table of examples: one row a call, one column a feature.
 *
 * Values are read as float32 wherever they meet a threshold, in training and in every evaluator, because ONNX Runtime takes
 * float32: the same row then takes the same way through the trees everywhere. NaN means missing, and is never an error.
 */
export interface FeatureMatrix {
  readonly rows: number;
  readonly columns: readonly string[];
  /** Row-major, `rows × columns.length`. */
  readonly values: Float64Array;
  /**
   * Columns that hold codes (small integers). They are split in code order like numbers, which was measured to cost nothing
   * against sets of categories, but every code keeps a bin of its own however rare it is. None when absent.
   */
  readonly categorical?: readonly boolean[] | undefined;
}

/**
 * - `l2`: the mean; squared error.
 * - `poisson`: the logarithm of the mean of a quantity that is never negative; Poisson deviance.
 * - `l1`: the median; absolute error.
 * - `quantile`: the `alpha` quantile; pinball loss.
 * - `binary`: the probability of target 1 (targets are 0 or 1, or anything between as a soft label); log loss.
 */
export type Objective = 'binary' | 'quantile' | 'l1' | 'l2' | 'poisson';

/** Names and meanings are LightGBM's, so that its documentation and experience apply. */
export interface GbdtParams {
  readonly objective: Objective;
  /** The quantile of the `quantile` objective, in (0, 1). */
  readonly alpha?: number | undefined;
  /** Boosting rounds; fewer when no split is left or early stopping ends it. */
  readonly trees: number;
  /** Leaves of a tree at most, ≥ 2. */
  readonly leaves: number;
  /** In (0, 1]. */
  readonly learningRate: number;
  /** Rows that each side of a split must hold. */
  readonly minLeafRows: number;
  /** Share of the columns that a tree may use, in (0, 1]. */
  readonly featureFraction: number;
  /** Share of the rows that a tree is grown on, drawn anew for each, in (0, 1]. */
  readonly baggingFraction: number;
  readonly lambdaL2: number;
  /** Bins of a column, the one of missing values included, in [2, 255]. */
  readonly maxBins: number;
  readonly seed: number;
  /** Stop after so many rounds without a better loss on the validation table; needs one. */
  readonly earlyStoppingRounds?: number | undefined;
}

/** How a raw score becomes the prediction. */
export type Link = 'identity' | 'logistic';

/**
 * Trees in flat arrays. Node `n` sends a row to `left[n]` when its value is at most `threshold[n]`, else to `right[n]`; a
 * missing value goes left when `missingLeft[n]` is 1. A child ≥ 0 is a node, a child < 0 the leaf `~child`.
 */
export interface TreeEnsemble {
  readonly featureCount: number;
  /** Entry of each tree, in the same code as a child: a tree of one leaf has a root < 0. */
  readonly roots: Int32Array;
  readonly feature: Int32Array;
  /** Exact in float32. */
  readonly threshold: Float64Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly missingLeft: Uint8Array;
  /** Exact in float32; the learning rate is already in it. */
  readonly leafValues: Float64Array;
  /** Where the sum of the leaves starts. */
  readonly baseScore: number;
  readonly link: Link;
}

/** A table kept back from training, to stop early and to choose between models. */
export interface ValidationSet {
  readonly data: FeatureMatrix;
  readonly target: Float64Array;
  readonly weights?: Float64Array | undefined;
  /** Scores of other trees to start from, where the training starts from some too. */
  readonly startScores?: Float64Array | undefined;
}

export interface ColumnImportance {
  readonly column: string;
  /** Loss reduction of all splits on this column, in the objective's own units. */
  readonly gain: number;
  readonly splits: number;
}

export interface TrainedEnsemble {
  readonly ensemble: TreeEnsemble;
  /** Trees kept: up to the round with the best validation loss, or all of them. */
  readonly bestTrees: number;
  /** Columns that a tree uses, the most useful first. */
  readonly importance: readonly ColumnImportance[];
  /** Mean loss on the validation table after each round; empty without one. */
  readonly validationLoss: readonly number[];
}

/** What the measurements on recorded traces found to be within 2–5 % of the best: small enough for every request. */
export const DEFAULT_GBDT_PARAMS: GbdtParams = {
  objective: 'l2',
  trees: 50,
  leaves: 15,
  learningRate: 0.1,
  minLeafRows: 20,
  featureFraction: 1,
  baggingFraction: 1,
  lambdaL2: 0,
  maxBins: 255,
  seed: 1,
};
