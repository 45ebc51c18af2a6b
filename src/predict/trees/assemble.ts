import type { BinnedMatrix } from './bins.js';
import type { GrownNode } from './grow.js';
import type { ColumnImportance, Link, TreeEnsemble } from './types.js';

/** A grown tree with what its leaves are worth. */
export interface BoostedTree {
  readonly splits: readonly GrownNode[];
  readonly leafValues: Float64Array;
}

/** Lays trees out behind each other, with the limits of bins as thresholds. */
export function assemble(
  trees: readonly BoostedTree[],
  matrix: BinnedMatrix,
  baseScore: number,
  link: Link,
): TreeEnsemble {
  const nodes = trees.reduce((sum, tree) => sum + tree.splits.length, 0);
  const leaves = trees.reduce((sum, tree) => sum + tree.leafValues.length, 0);
  const ensemble: TreeEnsemble = {
    featureCount: matrix.columns.length,
    roots: new Int32Array(trees.length),
    feature: new Int32Array(nodes),
    threshold: new Float64Array(nodes),
    left: new Int32Array(nodes),
    right: new Int32Array(nodes),
    missingLeft: new Uint8Array(nodes),
    leafValues: new Float64Array(leaves),
    baseScore,
    link,
  };
  let firstNode = 0;
  let firstLeaf = 0;
  trees.forEach((tree, index) => {
    const shift = (child: number) => (child >= 0 ? child + firstNode : ~(~child + firstLeaf));
    ensemble.roots[index] = tree.splits.length === 0 ? ~firstLeaf : firstNode;
    tree.splits.forEach((split, offset) => {
      const node = firstNode + offset;
      ensemble.feature[node] = split.column;
      // Beyond the last limit only missing values are on the other side.
      ensemble.threshold[node] = matrix.binned[split.column]!.limits[split.bin] ?? Number.POSITIVE_INFINITY;
      ensemble.left[node] = shift(split.left);
      ensemble.right[node] = shift(split.right);
      ensemble.missingLeft[node] = split.missingLeft ? 1 : 0;
    });
    ensemble.leafValues.set(tree.leafValues, firstLeaf);
    firstNode += tree.splits.length;
    firstLeaf += tree.leafValues.length;
  });
  return ensemble;
}

/** What each column contributes, the most useful first; ties by column order. */
export function importanceOf(trees: readonly BoostedTree[], columns: readonly string[]): ColumnImportance[] {
  const gain = new Float64Array(columns.length);
  const splits = new Int32Array(columns.length);
  for (const tree of trees) {
    for (const split of tree.splits) {
      gain[split.column]! += split.gain;
      splits[split.column]!++;
    }
  }
  return columns
    .map((column, index) => ({ column, gain: gain[index]!, splits: splits[index]! }))
    .filter((entry) => entry.splits > 0)
    .sort((a, b) => b.gain - a.gain);
}
