import type { TreeEnsemble } from '../trees/types.js';
import { INPUT_NAME, METADATA_KEY, type ModelOutput, type TreeModel } from './model.js';
import { ATTRIBUTE_TYPE, FIELD, FLOAT_ELEMENT } from './model-proto.js';
import { ProtoWriter } from './protobuf.js';

/** ONNX 1.12 and its operator sets: old enough for every runtime in use, and the first with all that is needed here. */
const IR_VERSION = 8;
const OPSET = 15;
const ML_OPSET = 3;
const ML_DOMAIN = 'ai.onnx.ml';

/**
 * The model as an ONNX file: one `TreeEnsembleRegressor` an output (with a `Sigmoid` behind it for probabilities), each `[rows, 1]`, all fed by one
 * input `features` of `[rows, featureCount]`. Equal models give equal bytes.
 */
export function writeModel(model: TreeModel): Uint8Array {
  const { model: m, opset, entry } = FIELD;
  const file = new ProtoWriter().integer(m.irVersion, IR_VERSION).text(m.producerName, 'maestro');
  file.message(m.graph, graphOf(model));
  file.message(m.opsetImport, new ProtoWriter().text(opset.domain, '').integer(opset.version, OPSET));
  file.message(m.opsetImport, new ProtoWriter().text(opset.domain, ML_DOMAIN).integer(opset.version, ML_OPSET));
  const metadata = new Map(model.metadata).set(METADATA_KEY.features, JSON.stringify(model.features));
  for (const key of [...metadata.keys()].sort()) {
    file.message(m.metadata, new ProtoWriter().text(entry.key, key).text(entry.value, metadata.get(key)!));
  }
  return file.finish();
}

function graphOf(model: TreeModel): ProtoWriter {
  const graph = new ProtoWriter();
  for (const output of model.outputs) {
    for (const node of nodesOf(output)) graph.message(FIELD.graph.node, node);
  }
  graph.text(FIELD.graph.name, 'predictor');
  graph.message(FIELD.graph.input, floatTensor(INPUT_NAME, model.featureCount));
  for (const output of model.outputs) graph.message(FIELD.graph.output, floatTensor(output.name, 1));
  return graph;
}

/** A float tensor of any number of rows. */
function floatTensor(name: string, width: number): ProtoWriter {
  const rows = new ProtoWriter().text(FIELD.dimension.name, 'rows');
  const columns = new ProtoWriter().integer(FIELD.dimension.value, width);
  const shape = new ProtoWriter().message(FIELD.shape.dimension, rows).message(FIELD.shape.dimension, columns);
  const tensor = new ProtoWriter().integer(FIELD.tensor.elementType, FLOAT_ELEMENT).message(FIELD.tensor.shape, shape);
  const type = new ProtoWriter().message(FIELD.type.tensor, tensor);
  return new ProtoWriter().text(FIELD.value.name, name).message(FIELD.value.type, type);
}

function nodesOf({ name, ensemble }: ModelOutput): ProtoWriter[] {
  const { node: n } = FIELD;
  const isProbability = ensemble.link === 'logistic';
  const scoreName = isProbability ? `${name}_score` : name;
  const trees = new ProtoWriter().text(n.input, INPUT_NAME).text(n.output, scoreName);
  trees.text(n.name, `${name}_trees`).text(n.opType, 'TreeEnsembleRegressor').text(n.domain, ML_DOMAIN);
  for (const attribute of attributesOf(ensemble)) trees.message(n.attribute, attribute);
  if (!isProbability) return [trees];
  const sigmoid = new ProtoWriter().text(n.input, scoreName).text(n.output, name);
  return [trees, sigmoid.text(n.name, `${name}_sigmoid`).text(n.opType, 'Sigmoid')];
}

/** The trees as the lists of a `TreeEnsembleRegressor`, every tree numbered from its root downwards. */
class NodeLists {
  readonly treeIds: number[] = [];
  readonly nodeIds: number[] = [];
  readonly featureIds: number[] = [];
  readonly thresholds: number[] = [];
  readonly modes: string[] = [];
  readonly trueIds: number[] = [];
  readonly falseIds: number[] = [];
  readonly missingTracksTrue: number[] = [];
  readonly leafTreeIds: number[] = [];
  readonly leafNodeIds: number[] = [];
  readonly leafWeights: number[] = [];

  constructor(private readonly ensemble: TreeEnsemble) {
    ensemble.roots.forEach((root, tree) => {
      this.add(tree, root, this.nodeIds.length);
    });
    // A graph without any tree is refused by ONNX Runtime; a leaf of 0 says the same.
    if (ensemble.roots.length === 0) this.addLeaf(0, 0, 0);
  }

  /** Adds what hangs on `child`; returns its number within the tree, whose first entry of the lists is `first`. */
  private add(tree: number, child: number, first: number): number {
    const id = this.nodeIds.length - first;
    if (child < 0) {
      this.addLeaf(tree, id, this.ensemble.leafValues[~child]!);
      return id;
    }
    const { feature, threshold, missingLeft, left, right } = this.ensemble;
    const at = this.addNode(tree, id, 'BRANCH_LEQ', feature[child]!, threshold[child]!, missingLeft[child]!);
    this.trueIds[at] = this.add(tree, left[child]!, first);
    this.falseIds[at] = this.add(tree, right[child]!, first);
    return id;
  }

  private addLeaf(tree: number, id: number, value: number): void {
    this.addNode(tree, id, 'LEAF', 0, 0, 0);
    this.leafTreeIds.push(tree);
    this.leafNodeIds.push(id);
    this.leafWeights.push(value);
  }

  private addNode(tree: number, id: number, mode: string, feature: number, limit: number, missing: number): number {
    this.treeIds.push(tree);
    this.nodeIds.push(id);
    this.modes.push(mode);
    this.featureIds.push(feature);
    this.thresholds.push(limit);
    this.missingTracksTrue.push(missing);
    this.trueIds.push(0);
    return this.falseIds.push(0) - 1;
  }
}

function attributesOf(ensemble: TreeEnsemble): ProtoWriter[] {
  const lists = new NodeLists(ensemble);
  return [
    integer('n_targets', 1),
    floats('base_values', [ensemble.baseScore]),
    integers('nodes_treeids', lists.treeIds),
    integers('nodes_nodeids', lists.nodeIds),
    integers('nodes_featureids', lists.featureIds),
    floats('nodes_values', lists.thresholds),
    texts('nodes_modes', lists.modes),
    integers('nodes_truenodeids', lists.trueIds),
    integers('nodes_falsenodeids', lists.falseIds),
    integers('nodes_missing_value_tracks_true', lists.missingTracksTrue),
    integers('target_treeids', lists.leafTreeIds),
    integers('target_nodeids', lists.leafNodeIds),
    integers(
      'target_ids',
      lists.leafNodeIds.map(() => 0),
    ),
    floats('target_weights', lists.leafWeights),
  ];
}

function attribute(name: string, type: number): ProtoWriter {
  return new ProtoWriter().text(FIELD.attribute.name, name).integer(FIELD.attribute.type, type);
}

function integer(name: string, value: number): ProtoWriter {
  return attribute(name, ATTRIBUTE_TYPE.integer).integer(FIELD.attribute.integer, value);
}

function integers(name: string, values: readonly number[]): ProtoWriter {
  return attribute(name, ATTRIBUTE_TYPE.integers).packedIntegers(FIELD.attribute.integers, values);
}

function floats(name: string, values: readonly number[]): ProtoWriter {
  return attribute(name, ATTRIBUTE_TYPE.floats).packedFloats(FIELD.attribute.floats, values);
}

function texts(name: string, values: readonly string[]): ProtoWriter {
  const written = attribute(name, ATTRIBUTE_TYPE.texts);
  for (const value of values) written.text(FIELD.attribute.texts, value);
  return written;
}
