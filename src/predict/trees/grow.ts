import type { BinnedMatrix } from './bins.js';
import { HistogramLayout } from './histogram.js';
import { bestSplit, type LeafSums, type Split, type SplitLimits } from './split.js';

/** A tree over bins. Children are coded as in `TreeEnsemble`: a node, or `~leaf`. */
export interface GrownTree {
  readonly splits: readonly GrownNode[];
  /** Rows of each leaf. */
  readonly leafRows: readonly Int32Array[];
  readonly leafSums: readonly LeafSums[];
}

export interface GrownNode {
  readonly column: number;
  readonly bin: number;
  readonly missingLeft: boolean;
  readonly gain: number;
  left: number;
  right: number;
}

interface OpenLeaf {
  /** The rows `[start, end)` of the permutation. */
  start: number;
  end: number;
  sums: LeafSums;
  histogram: Float64Array;
  split: Split | undefined;
  /** Where the leaf hangs: the node, and on which side. */
  parent: GrownNode | undefined;
  isLeft: boolean;
}

/** Grows trees on one table, leaf-wise: the leaf whose best split gains most is split next, as in LightGBM. */
export class TreeGrower {
  private readonly layout: HistogramLayout;
  private readonly histograms: Float64Array[] = [];
  private readonly ordered: Float64Array;
  private readonly spare: Int32Array;

  constructor(
    private readonly matrix: BinnedMatrix,
    private readonly limits: SplitLimits & { readonly leaves: number },
  ) {
    this.layout = new HistogramLayout(matrix);
    this.ordered = new Float64Array(matrix.rows * 2);
    this.spare = new Int32Array(matrix.rows);
  }

  /** Grows one tree on `rows` (reordered in place) with the columns given; `derivatives` as in `ObjectiveRule.gradients`. */
  grow(rows: Int32Array, columns: Int32Array, derivatives: Float64Array): GrownTree {
    const pool = this.histograms.slice();
    const root: OpenLeaf = {
      start: 0,
      end: rows.length,
      sums: sumOf(rows, derivatives),
      histogram: this.take(pool),
      split: undefined,
      parent: undefined,
      isLeft: false,
    };
    this.fill(root, rows, columns, derivatives);
    this.findSplit(root, columns);
    const leaves = [root];
    const splits: GrownNode[] = [];
    while (leaves.length < this.limits.leaves) {
      const index = indexOfBest(leaves);
      if (index < 0) break;
      const leaf = leaves[index]!;
      const [left, right] = this.splitLeaf(leaf, rows, splits);
      leaves[index] = left;
      leaves.push(right);
      if (leaves.length === this.limits.leaves) break;
      const [smaller, larger] = left.end - left.start <= right.end - right.start ? [left, right] : [right, left];
      larger.histogram = leaf.histogram;
      smaller.histogram = this.take(pool);
      this.fill(smaller, rows, columns, derivatives);
      this.layout.subtract(larger.histogram, smaller.histogram, columns);
      this.findSplit(left, columns);
      this.findSplit(right, columns);
    }
    leaves.forEach((leaf, index) => {
      if (leaf.parent) leaf.parent[leaf.isLeft ? 'left' : 'right'] = ~index;
    });
    return {
      splits,
      leafRows: leaves.map((leaf) => rows.subarray(leaf.start, leaf.end)),
      leafSums: leaves.map((leaf) => leaf.sums),
    };
  }

  private take(pool: Float64Array[]): Float64Array {
    const free = pool.pop();
    if (free) return free;
    const made = new Float64Array(this.layout.length);
    this.histograms.push(made);
    return made;
  }

  private fill(leaf: OpenLeaf, rows: Int32Array, columns: Int32Array, derivatives: Float64Array): void {
    const own = rows.subarray(leaf.start, leaf.end);
    // Derivatives are laid out once in row order of the leaf, so that each column reads them in sequence.
    for (let index = 0; index < own.length; index++) {
      const row = own[index]!;
      this.ordered[2 * index] = derivatives[2 * row]!;
      this.ordered[2 * index + 1] = derivatives[2 * row + 1]!;
    }
    this.layout.fill(leaf.histogram, columns, own, this.ordered);
  }

  private findSplit(leaf: OpenLeaf, columns: Int32Array): void {
    leaf.split = undefined;
    if (leaf.sums.rows < 2 * this.limits.minLeafRows) return;
    for (const column of columns) {
      const gain: number = leaf.split?.gain ?? 0;
      const binned = this.matrix.binned[column]!;
      const offset = this.layout.offsets[column]!;
      leaf.split = bestSplit(leaf.histogram, offset, column, binned, leaf.sums, this.limits, gain) ?? leaf.split;
    }
  }

  private splitLeaf(leaf: OpenLeaf, rows: Int32Array, splits: GrownNode[]): [OpenLeaf, OpenLeaf] {
    const split = leaf.split!;
    const node: GrownNode = { ...split, left: 0, right: 0 };
    if (leaf.parent) leaf.parent[leaf.isLeft ? 'left' : 'right'] = splits.length;
    splits.push(node);
    const middle = this.partition(rows, leaf.start, leaf.end, node);
    const { leftSums } = split;
    const rightSums: LeafSums = {
      gradient: leaf.sums.gradient - leftSums.gradient,
      hessian: leaf.sums.hessian - leftSums.hessian,
      rows: leaf.sums.rows - leftSums.rows,
    };
    const child = (start: number, end: number, sums: LeafSums, isLeft: boolean): OpenLeaf => {
      return { start, end, sums, histogram: leaf.histogram, split: undefined, parent: node, isLeft };
    };
    return [child(leaf.start, middle, leftSums, true), child(middle, leaf.end, rightSums, false)];
  }

  /** Brings the rows of the left child to the front, both sides in their old order; returns where the right ones start. */
  private partition(rows: Int32Array, start: number, end: number, node: GrownNode): number {
    const column = this.matrix.binned[node.column]!;
    const missingBin = column.missingBin ?? -1;
    let left = start;
    let right = 0;
    for (let index = start; index < end; index++) {
      const row = rows[index]!;
      if (goesLeft(column.codes[row]!, node, missingBin)) rows[left++] = row;
      else this.spare[right++] = row;
    }
    rows.set(this.spare.subarray(0, right), left);
    return left;
  }
}

/** The leaf that a row of the training table reaches. */
export function leafOfRow(tree: GrownTree, matrix: BinnedMatrix, row: number): number {
  let child = tree.splits.length === 0 ? ~0 : 0;
  while (child >= 0) {
    const node = tree.splits[child]!;
    const column = matrix.binned[node.column]!;
    child = goesLeft(column.codes[row]!, node, column.missingBin ?? -1) ? node.left : node.right;
  }
  return ~child;
}

function goesLeft(code: number, node: GrownNode, missingBin: number): boolean {
  return code === missingBin ? node.missingLeft : code <= node.bin;
}

function indexOfBest(leaves: readonly OpenLeaf[]): number {
  let best = -1;
  leaves.forEach((leaf, index) => {
    if (leaf.split && (best < 0 || leaf.split.gain > leaves[best]!.split!.gain)) best = index;
  });
  return best;
}

function sumOf(rows: Int32Array, derivatives: Float64Array): LeafSums {
  let gradient = 0;
  let hessian = 0;
  for (const row of rows) {
    gradient += derivatives[2 * row]!;
    hessian += derivatives[2 * row + 1]!;
  }
  return { gradient, hessian, rows: rows.length };
}
