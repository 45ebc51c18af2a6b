import { applyLink } from './evaluate.js';
import type { Link, TreeEnsemble } from './types.js';

/** For each output the place of the ensemble whose score is added to its own before the link; -1: none. */
export type Corrections = Int32Array;

/**
 * The outputs of a model laid out for speed: what every request pays for. Says the same as `predictRow` of each ensemble.
 *
 * A row is copied twice, once negated. A node that sends missing values left compares the negated value, and its sides are
 * swapped: then a missing value fails every comparison, and a step down the tree is one comparison without a branch.
 */
export class Forest {
  readonly featureCount: number;
  readonly outputs: number;
  private readonly row: Float64Array;
  private readonly roots: Int32Array;
  /** Which place of `row` a node compares. */
  private readonly place: Int32Array;
  private readonly limit: Float64Array;
  /** Two children a node: where to go when the comparison fails, and when it holds. */
  private readonly children: Int32Array;
  private readonly leafValues: Float64Array;
  /** Where the trees of each output end. */
  private readonly ends: Int32Array;
  private readonly baseScores: Float64Array;
  private readonly links: Link[];

  constructor(ensembles: readonly TreeEnsemble[]) {
    const total = (count: (ensemble: TreeEnsemble) => number) =>
      ensembles.reduce((sum, ensemble) => sum + count(ensemble), 0);
    const nodes = total((ensemble) => ensemble.feature.length);
    this.featureCount = ensembles[0]?.featureCount ?? 0;
    this.outputs = ensembles.length;
    this.row = new Float64Array(2 * this.featureCount);
    this.roots = new Int32Array(total((ensemble) => ensemble.roots.length));
    this.place = new Int32Array(nodes);
    this.limit = new Float64Array(nodes);
    this.children = new Int32Array(2 * nodes);
    this.leafValues = new Float64Array(total((ensemble) => ensemble.leafValues.length));
    this.ends = new Int32Array(ensembles.length);
    this.baseScores = Float64Array.from(ensembles, (ensemble) => ensemble.baseScore);
    this.links = ensembles.map((ensemble) => ensemble.link);
    let firstTree = 0;
    let firstNode = 0;
    let firstLeaf = 0;
    ensembles.forEach((ensemble, output) => {
      if (ensemble.featureCount !== this.featureCount) throw new RangeError('all outputs must take the same features');
      this.add(ensemble, firstTree, firstNode, firstLeaf);
      firstTree += ensemble.roots.length;
      firstNode += ensemble.feature.length;
      firstLeaf += ensemble.leafValues.length;
      this.ends[output] = firstTree;
    });
  }

  /** Predicts the outputs of the row at `offset` into `into`, in the order of the ensembles, all or those of `[first, end)`. Allocates nothing. */
  predict(
    values: Float64Array,
    offset: number,
    into: Float64Array,
    first = 0,
    end = this.outputs,
    corrections?: Corrections,
  ): void {
    const { featureCount, row } = this;
    for (let feature = 0; feature < featureCount; feature++) {
      const value = Math.fround(values[offset + feature]!);
      row[feature] = value;
      row[featureCount + feature] = -value;
    }
    for (let output = first; output < end; output++) {
      const correction = corrections?.[output] ?? -1;
      const score = this.score(output) + (correction < 0 ? 0 : this.score(correction));
      into[output] = applyLink(this.links[output]!, score);
    }
  }

  /** The sum of the leaves that the row at hand reaches. */
  private score(ensemble: number): number {
    const { row, roots, place, limit, children, leafValues, ends } = this;
    let score = this.baseScores[ensemble]!;
    const end = ends[ensemble]!;
    for (let tree = ensemble === 0 ? 0 : ends[ensemble - 1]!; tree < end; tree++) {
      let node = roots[tree]!;
      while (node >= 0) node = children[2 * node + Number(row[place[node]!]! <= limit[node]!)]!;
      score += leafValues[~node]!;
    }
    return score;
  }

  private add(ensemble: TreeEnsemble, firstTree: number, firstNode: number, firstLeaf: number): void {
    const shift = (child: number) => (child >= 0 ? child + firstNode : ~(~child + firstLeaf));
    ensemble.roots.forEach((root, tree) => {
      this.roots[firstTree + tree] = shift(root);
    });
    for (let source = 0; source < ensemble.feature.length; source++) {
      const node = firstNode + source;
      const isMirrored = ensemble.missingLeft[source] === 1;
      const threshold = ensemble.threshold[source]!;
      const [left, right] = [shift(ensemble.left[source]!), shift(ensemble.right[source]!)];
      // x > t is x ≥ the float32 after t, which is −x ≤ its negative.
      this.place[node] = ensemble.feature[source]! + (isMirrored ? this.featureCount : 0);
      this.limit[node] = isMirrored ? -float32After(threshold) : threshold;
      this.children[2 * node] = isMirrored ? left : right;
      this.children[2 * node + 1] = isMirrored ? right : left;
    }
    this.leafValues.set(ensemble.leafValues, firstLeaf);
  }
}

/** The smallest float32 above `value`; NaN above infinity, because nothing is. */
export function float32After(value: number): number {
  if (value === Number.POSITIVE_INFINITY) return Number.NaN;
  if (value === 0) return 2 ** -149;
  const float = Float32Array.of(value);
  new Int32Array(float.buffer)[0]! += value > 0 ? 1 : -1;
  return float[0]!;
}
