import { float32After } from '../trees/forest.js';
import type { Link, TreeEnsemble } from '../trees/types.js';
import type { GraphNode } from './model-proto.js';
import { ModelFormatError } from './protobuf.js';

/** Rows of a node's lists that belong together. */
interface NodeRow {
  readonly feature: number;
  readonly mode: string;
  readonly threshold: number;
  readonly trueId: number;
  readonly falseId: number;
  readonly missingTrue: boolean;
}

/** Deeper trees than this are a broken file: every tree of every trainer in use is shallower. */
const MAX_DEPTH = 512;

/**
 * The trees of a `TreeEnsembleRegressor` with one target, or of a `TreeEnsembleClassifier` of two classes (then the probability of the second).
 * Throws {@link ModelFormatError} for what is broken, and for what the evaluator in TypeScript cannot do.
 */
export function readTreeNode(node: GraphNode, featureCount: number): TreeEnsemble {
  const isClassifier = node.opType === 'TreeEnsembleClassifier';
  const trees = readRows(node);
  const { weights, base } = isClassifier ? classWeights(node) : targetWeights(node);
  const link = readLink(node);
  const scale = readScale(node, trees.size);
  return new EnsembleBuilder(featureCount, weights, scale).build(trees, base, link);
}

type Trees = Map<number, Map<number, NodeRow>>;
type LeafWeights = (tree: number, node: number) => number;

function integers(node: GraphNode, name: string): readonly number[] {
  return node.attributes.get(name)?.integers ?? [];
}

function floats(node: GraphNode, name: string): readonly number[] {
  return node.attributes.get(name)?.floats ?? [];
}

function refuse(node: GraphNode, why: string): never {
  throw new ModelFormatError(`${node.opType}: ${why}`);
}

function readRows(node: GraphNode): Trees {
  const treeIds = integers(node, 'nodes_treeids');
  const nodeIds = integers(node, 'nodes_nodeids');
  const features = integers(node, 'nodes_featureids');
  const trueIds = integers(node, 'nodes_truenodeids');
  const falseIds = integers(node, 'nodes_falsenodeids');
  const missing = integers(node, 'nodes_missing_value_tracks_true');
  const modes = node.attributes.get('nodes_modes')?.texts ?? [];
  const thresholds = floats(node, 'nodes_values');
  const count = treeIds.length;
  if (count === 0) refuse(node, 'it has no trees in float32');
  const lists = [nodeIds, features, trueIds, falseIds, modes, thresholds, ...(missing.length > 0 ? [missing] : [])];
  if (lists.some((list) => list.length !== count)) refuse(node, 'its lists of nodes are not of one length');
  const trees: Trees = new Map();
  for (let at = 0; at < count; at++) {
    const tree = trees.get(treeIds[at]!) ?? new Map<number, NodeRow>();
    trees.set(treeIds[at]!, tree);
    if (tree.has(nodeIds[at]!)) refuse(node, `tree ${treeIds[at]} has node ${nodeIds[at]} twice`);
    tree.set(nodeIds[at]!, {
      feature: features[at]!,
      mode: modes[at]!,
      threshold: thresholds[at]!,
      trueId: trueIds[at]!,
      falseId: falseIds[at]!,
      missingTrue: missing[at] === 1,
    });
  }
  return trees;
}

interface Weights {
  readonly weights: LeafWeights;
  readonly base: number;
}

function targetWeights(node: GraphNode): Weights {
  const targets = integers(node, 'n_targets')[0] ?? 1;
  if (targets !== 1) refuse(node, `it has ${targets} targets; write one node for each`);
  const ids = integers(node, 'target_ids');
  if (ids.some((id) => id !== 0)) refuse(node, 'a leaf adds to a target that is not there');
  const weights = sumByLeaf(node, 'target', () => true);
  return { weights, base: floats(node, 'base_values')[0] ?? 0 };
}

function classWeights(node: GraphNode): Weights {
  const labels = node.attributes.get('classlabels_int64s')?.integers.length || 0;
  const names = node.attributes.get('classlabels_strings')?.texts.length || 0;
  if (labels + names !== 2) refuse(node, `it tells ${labels + names} classes apart; two can be used`);
  const ids = new Set(integers(node, 'class_ids'));
  // With weights for one class only, whatever its number, ONNX Runtime takes their sum as the score of the second.
  const hasBoth = ids.size > 1;
  const weights = sumByLeaf(node, 'class', (id) => !hasBoth || id === 1);
  return { weights, base: floats(node, 'base_values').at(-1) ?? 0 };
}

function sumByLeaf(node: GraphNode, prefix: 'target' | 'class', counts: (id: number) => boolean): LeafWeights {
  const treeIds = integers(node, `${prefix}_treeids`);
  const nodeIds = integers(node, `${prefix}_nodeids`);
  const ids = integers(node, `${prefix}_ids`);
  const weights = floats(node, `${prefix}_weights`);
  if ([nodeIds, ids, weights].some((list) => list.length !== treeIds.length)) {
    refuse(node, 'its lists of leaves are not of one length');
  }
  const sums = new Map<string, number>();
  treeIds.forEach((tree, at) => {
    if (!counts(ids[at]!)) return;
    const key = `${tree}/${nodeIds[at]}`;
    sums.set(key, (sums.get(key) ?? 0) + weights[at]!);
  });
  return (tree, id) => sums.get(`${tree}/${id}`) ?? 0;
}

function readLink(node: GraphNode): Link {
  const transform = node.attributes.get('post_transform')?.text || 'NONE';
  if (transform === 'NONE') return 'identity';
  if (transform === 'LOGISTIC') return 'logistic';
  return refuse(node, `post_transform ${transform} is not supported`);
}

function readScale(node: GraphNode, trees: number): number {
  const aggregate = node.attributes.get('aggregate_function')?.text || 'SUM';
  if (aggregate === 'SUM') return 1;
  if (aggregate === 'AVERAGE') return 1 / trees;
  return refuse(node, `aggregate_function ${aggregate} is not supported`);
}

/** Lays the trees out flat, turning every comparison into "at most". */
class EnsembleBuilder {
  private readonly feature: number[] = [];
  private readonly threshold: number[] = [];
  private readonly left: number[] = [];
  private readonly right: number[] = [];
  private readonly missingLeft: number[] = [];
  private readonly leafValues: number[] = [];
  private seen = 0;

  constructor(
    private readonly featureCount: number,
    private readonly weights: LeafWeights,
    private readonly scale: number,
  ) {}

  build(trees: Trees, baseScore: number, link: Link): TreeEnsemble {
    const roots: number[] = [];
    for (const [id, tree] of trees) {
      this.seen = 0;
      roots.push(this.add(id, tree, rootOf(id, tree), 0));
      if (this.seen !== tree.size) throw new ModelFormatError(`tree ${id} has nodes that no path leads to`);
    }
    if (!Number.isFinite(baseScore)) throw new ModelFormatError(`the base value is ${baseScore}`);
    return {
      featureCount: this.featureCount,
      roots: Int32Array.from(roots),
      feature: Int32Array.from(this.feature),
      threshold: Float64Array.from(this.threshold),
      left: Int32Array.from(this.left),
      right: Int32Array.from(this.right),
      missingLeft: Uint8Array.from(this.missingLeft),
      leafValues: Float64Array.from(this.leafValues),
      baseScore,
      link,
    };
  }

  private add(treeId: number, tree: ReadonlyMap<number, NodeRow>, id: number, depth: number): number {
    const row = tree.get(id);
    if (!row) throw new ModelFormatError(`tree ${treeId} points to node ${id}, which is not there`);
    // A node reached twice (a loop, or two parents) makes more visits than there are nodes.
    if (++this.seen > tree.size || depth > MAX_DEPTH) throw new ModelFormatError(`tree ${treeId} is no tree`);
    if (row.mode === 'LEAF') {
      const value = this.weights(treeId, id) * this.scale;
      if (!Number.isFinite(value)) throw new ModelFormatError(`leaf ${id} of tree ${treeId} is ${value}`);
      return ~(this.leafValues.push(value) - 1);
    }
    if (!(row.feature >= 0 && row.feature < this.featureCount)) {
      throw new ModelFormatError(`tree ${treeId} asks for feature ${row.feature} of ${this.featureCount}`);
    }
    const { limit, isSwapped } = comparisonOf(row);
    const at = this.feature.push(row.feature) - 1;
    this.threshold.push(limit);
    this.missingLeft.push(row.missingTrue !== isSwapped ? 1 : 0);
    this.left.push(0);
    this.right.push(0);
    const onTrue = this.add(treeId, tree, row.trueId, depth + 1);
    const onFalse = this.add(treeId, tree, row.falseId, depth + 1);
    this.left[at] = isSwapped ? onFalse : onTrue;
    this.right[at] = isSwapped ? onTrue : onFalse;
    return at;
  }
}

/** The one node that is nobody's child. */
function rootOf(treeId: number, tree: ReadonlyMap<number, NodeRow>): number {
  const children = new Set<number>();
  for (const row of tree.values()) {
    if (row.mode === 'LEAF') continue;
    children.add(row.trueId);
    children.add(row.falseId);
  }
  const roots = [...tree.keys()].filter((id) => !children.has(id));
  if (roots.length !== 1) throw new ModelFormatError(`tree ${treeId} has ${roots.length} roots`);
  return roots[0]!;
}

/** `x < t` is `x ≤` the float32 before `t`; the other directions are these two with the sides swapped. */
function comparisonOf({ mode, threshold }: NodeRow): { limit: number; isSwapped: boolean } {
  if (Number.isNaN(threshold)) throw new ModelFormatError('a threshold is not a number');
  switch (mode) {
    case 'BRANCH_LEQ':
      return { limit: threshold, isSwapped: false };
    case 'BRANCH_GT':
      return { limit: threshold, isSwapped: true };
    case 'BRANCH_LT':
      return { limit: float32Before(threshold), isSwapped: false };
    case 'BRANCH_GTE':
      return { limit: float32Before(threshold), isSwapped: true };
    default:
      throw new ModelFormatError(
        `nodes of mode ${mode} are not supported (categories must be coded as ordered numbers)`,
      );
  }
}

/** The largest float32 below `value`. */
function float32Before(value: number): number {
  return -float32After(-value);
}
