import { type Rng, SeededRng } from '../../model/rng.js';
import { assemble, type BoostedTree, importanceOf } from './assemble.js';
import { type BinnedMatrix, binFeatures, canSplit } from './bins.js';
import { rawScore } from './evaluate.js';
import { type GrownTree, leafOfRow, TreeGrower } from './grow.js';
import { type ObjectiveRule, objectiveRule, weightedQuantile } from './objective.js';
import { checkTraining } from './params.js';
import { leafValue } from './split.js';
import type { FeatureMatrix, GbdtParams, TrainedEnsemble, TreeEnsemble, ValidationSet } from './types.js';

/**
 * Trains gradient-boosted trees with LightGBM's algorithm: binned columns, leaf-wise growth, a learned side for missing values,
 * leaves of the quantile losses set to the quantile of their residuals. Equal input and seed give equal trees.
 *
 * Synchronous and long (seconds on 100 000 rows): live code calls it in a worker.
 *
 * @throws RangeError for parameters out of range, lengths that do not match, and targets or weights that are not finite.
 */
export function trainGbdt(
  data: FeatureMatrix,
  target: Float64Array,
  params: GbdtParams,
  weights?: Float64Array,
  validation?: ValidationSet,
): TrainedEnsemble {
  return trainOnBins(binFeatures(data, params.maxBins), target, params, weights, validation);
}

/**
 * {@link trainGbdt} on a table that is binned already: the outputs of a model share theirs. `params.maxBins` has no say here.
 *
 * @param startScores Raw scores of other trees for the rows: what is trained is then added to them, and has no constant of its own.
 */
export function trainOnBins(
  matrix: BinnedMatrix,
  target: Float64Array,
  params: GbdtParams,
  weights?: Float64Array,
  validation?: ValidationSet,
  startScores?: Float64Array,
): TrainedEnsemble {
  checkTraining(matrix, target, params, weights, validation);
  const rule = objectiveRule(params);
  // Scores are sums of float32 numbers; a target that is one too can be met exactly, and absolute error then leaves it alone.
  const roundedTarget = target.map(Math.fround);
  const baseScore = startScores ? 0 : Math.fround(rule.initialScore(roundedTarget, weights));
  const scores = startScores?.slice() ?? new Float64Array(matrix.rows).fill(baseScore);
  const booster = new Booster(matrix, roundedTarget, params, rule, weights, scores);
  const monitor = validation && new ValidationMonitor(validation, rule, baseScore);
  const trees: BoostedTree[] = [];
  for (let round = 0; round < params.trees; round++) {
    const tree = booster.next();
    if (tree.splits.length === 0) {
      // With all rows and columns in play the next round would find nothing either.
      if (params.featureFraction >= 1 && params.baggingFraction >= 1) break;
      continue;
    }
    trees.push(tree);
    if (!monitor) continue;
    monitor.add(assemble([tree], matrix, 0, 'identity'));
    const roundsSinceBest = trees.length - monitor.bestRounds;
    if (params.earlyStoppingRounds !== undefined && roundsSinceBest >= params.earlyStoppingRounds) break;
  }
  const stoppedEarly = monitor !== undefined && params.earlyStoppingRounds !== undefined;
  const kept = stoppedEarly ? trees.slice(0, monitor.bestRounds) : trees;
  return {
    ensemble: assemble(kept, matrix, baseScore, rule.link),
    bestTrees: kept.length,
    importance: importanceOf(kept, matrix.columns),
    validationLoss: monitor?.losses ?? [],
  };
}

/** Adds one tree after the other to the scores of the training rows. */
class Booster {
  private readonly derivatives: Float64Array;
  private readonly grower: TreeGrower;
  private readonly rng: Rng;
  private readonly allRows: Int32Array;
  private readonly allColumns: Int32Array;

  constructor(
    private readonly matrix: BinnedMatrix,
    private readonly target: Float64Array,
    private readonly params: GbdtParams,
    private readonly rule: ObjectiveRule,
    private readonly weights: Float64Array | undefined,
    private readonly score: Float64Array,
  ) {
    this.derivatives = new Float64Array(matrix.rows * 2);
    const minLeafRows = Math.max(1, params.minLeafRows);
    this.grower = new TreeGrower(matrix, { leaves: params.leaves, lambdaL2: params.lambdaL2, minLeafRows });
    this.rng = new SeededRng(params.seed);
    this.allRows = Int32Array.from({ length: matrix.rows }, (_, row) => row);
    const columns = matrix.columns.map((_, column) => column);
    this.allColumns = Int32Array.from(columns.filter((column) => canSplit(matrix.binned[column]!)));
  }

  next(): BoostedTree {
    const { rule, score, target, weights, derivatives, params } = this;
    rule.gradients(score, target, weights, derivatives);
    const rows = drawRows(this.rng, this.allRows, params.baggingFraction);
    const columns = drawColumns(this.rng, this.allColumns, params.featureFraction);
    const tree = this.grower.grow(rows, columns, derivatives);
    const leafValues = Float64Array.from(tree.leafRows, (_, leaf) =>
      Math.fround(this.valueOf(tree, leaf) * params.learningRate),
    );
    this.addToScores(tree, leafValues, rows.length);
    return { splits: tree.splits, leafValues };
  }

  private valueOf(tree: GrownTree, leaf: number): number {
    const { score, target, weights } = this;
    if (this.rule.leafQuantile === undefined) return leafValue(tree.leafSums[leaf]!, this.params.lambdaL2);
    const rows = tree.leafRows[leaf]!;
    const residuals = new Float64Array(rows.length);
    for (let index = 0; index < rows.length; index++) residuals[index] = target[rows[index]!]! - score[rows[index]!]!;
    const ownWeights = weights && Float64Array.from(rows, (row) => weights[row]!);
    return weightedQuantile(residuals, ownWeights, this.rule.leafQuantile);
  }

  private addToScores(tree: GrownTree, leafValues: Float64Array, grownOn: number): void {
    if (grownOn < this.matrix.rows) {
      for (let row = 0; row < this.matrix.rows; row++) {
        this.score[row]! += leafValues[leafOfRow(tree, this.matrix, row)]!;
      }
      return;
    }
    tree.leafRows.forEach((rows, leaf) => {
      for (const row of rows) this.score[row]! += leafValues[leaf]!;
    });
  }
}

/** Follows the loss on the table kept back. */
class ValidationMonitor {
  readonly losses: number[] = [];
  /** Rounds up to the lowest loss; 0 while no tree has improved on the constant. */
  bestRounds = 0;
  private bestLoss: number;
  private readonly score: Float64Array;

  constructor(
    private readonly validation: ValidationSet,
    private readonly rule: ObjectiveRule,
    baseScore: number,
  ) {
    this.score = validation.startScores?.slice() ?? new Float64Array(validation.target.length).fill(baseScore);
    this.bestLoss = this.meanLoss();
  }

  add(tree: TreeEnsemble): void {
    const { data } = this.validation;
    for (let row = 0; row < this.score.length; row++) {
      this.score[row]! += rawScore(tree, data.values, row * tree.featureCount);
    }
    const loss = this.meanLoss();
    const rounds = this.losses.push(loss);
    if (loss < this.bestLoss) {
      this.bestLoss = loss;
      this.bestRounds = rounds;
    }
  }

  private meanLoss(): number {
    const { target, weights } = this.validation;
    let sum = 0;
    let total = 0;
    for (let row = 0; row < target.length; row++) {
      const weight = weights === undefined ? 1 : weights[row]!;
      sum += weight * this.rule.loss(this.score[row]!, target[row]!);
      total += weight;
    }
    return total > 0 ? sum / total : 0;
  }
}

/** A share of the rows in ascending order, drawn without replacement. The caller may reorder them. */
function drawRows(rng: Rng, rows: Int32Array, fraction: number): Int32Array {
  if (fraction >= 1) return rows.slice();
  return drawAscending(rng, rows.length, Math.max(1, Math.round(rows.length * fraction)));
}

function drawColumns(rng: Rng, columns: Int32Array, fraction: number): Int32Array {
  if (fraction >= 1) return columns;
  const picked = drawAscending(rng, columns.length, Math.max(1, Math.round(columns.length * fraction)));
  return picked.map((index) => columns[index]!);
}

/** Selection sampling: each index is taken with the chance that the rest of the draw still needs. */
function drawAscending(rng: Rng, count: number, wanted: number): Int32Array {
  const picked = new Int32Array(Math.min(wanted, count));
  let taken = 0;
  for (let index = 0; index < count && taken < picked.length; index++) {
    if (rng.next() * (count - index) < picked.length - taken) picked[taken++] = index;
  }
  return picked;
}
