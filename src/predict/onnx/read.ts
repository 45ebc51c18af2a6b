import type { TreeEnsemble } from '../trees/types.js';
import { METADATA_KEY, type ModelOutput, type TreeModel } from './model.js';
import { FLOAT_ELEMENT, type GraphNode, type ModelProto, readModelProto } from './model-proto.js';
import { ModelFormatError } from './protobuf.js';
import { readTreeNode } from './tree-node.js';

/**
 * Reads a model that was written here, or by a converter of LightGBM, XGBoost or scikit-learn, into trees for the evaluator in TypeScript.
 * Throws {@link ModelFormatError} with the reason for a file that is broken or holds more than trees.
 */
export function readModel(bytes: Uint8Array): TreeModel {
  const proto = readModelProto(bytes);
  const input = inputOf(proto);
  const outputs: ModelOutput[] = [];
  for (const { name } of proto.outputs) {
    const ensemble = ensembleOf(proto, name, input);
    if (ensemble) outputs.push({ name, ensemble });
  }
  if (outputs.length === 0) throw new ModelFormatError('the graph has no output that is a prediction');
  const features = featureNames(proto);
  if (features.length > 0 && features.length !== input.width) {
    throw new ModelFormatError(
      `${METADATA_KEY.features} names ${features.length} features, the input has ${input.width}`,
    );
  }
  return { features, featureCount: input.width, outputs, metadata: proto.metadata };
}

interface Input {
  readonly name: string;
  readonly width: number;
}

function inputOf(proto: ModelProto): Input {
  const input = proto.inputs[0];
  if (proto.inputs.length !== 1 || !input) {
    throw new ModelFormatError(`the graph has ${proto.inputs.length} inputs; one table of features is expected`);
  }
  const width = input.shape[1];
  const isTable = input.elementType === FLOAT_ELEMENT && input.shape.length === 2;
  if (!isTable || width === undefined || !(width > 0)) {
    throw new ModelFormatError(`input "${input.name}" must be float32 of shape [rows, number of features]`);
  }
  return { name: input.name, width };
}

/** The trees behind an output of the graph; undefined for the label of a classifier, which is no prediction of its own. */
function ensembleOf(proto: ModelProto, outputName: string, input: Input): TreeEnsemble | undefined {
  let name = outputName;
  let isProbability = false;
  // Each step goes up one node, so there are no more steps than nodes.
  for (let step = 0; step <= proto.nodes.length; step++) {
    const node = proto.nodes.find((candidate) => candidate.outputs.includes(name));
    if (!node) throw new ModelFormatError(`nothing computes output "${outputName}"`);
    if (node.opType === 'TreeEnsembleRegressor' || node.opType === 'TreeEnsembleClassifier') {
      if (node.opType === 'TreeEnsembleClassifier' && node.outputs[0] === name) return undefined;
      if (node.inputs[0] !== input.name)
        throw new ModelFormatError(`"${outputName}" is not computed from "${input.name}"`);
      const ensemble = readTreeNode(node, input.width);
      return isProbability ? withSigmoid(ensemble, outputName) : ensemble;
    }
    if (node.opType === 'Sigmoid' && !isProbability) isProbability = true;
    else if (node.opType !== 'Identity') throw unsupported(node, outputName);
    name = node.inputs[0] ?? '';
  }
  throw new ModelFormatError(`output "${outputName}" depends on itself`);
}

function withSigmoid(ensemble: TreeEnsemble, outputName: string): TreeEnsemble {
  if (ensemble.link === 'logistic') throw new ModelFormatError(`"${outputName}" is put through a sigmoid twice`);
  return { ...ensemble, link: 'logistic' };
}

function unsupported(node: GraphNode, outputName: string): ModelFormatError {
  return new ModelFormatError(
    `output "${outputName}" needs the operator ${node.opType}; the evaluator knows trees, Sigmoid and Identity`,
  );
}

function featureNames(proto: ModelProto): string[] {
  const text = proto.metadata.get(METADATA_KEY.features);
  if (text === undefined) return [];
  try {
    const names: unknown = JSON.parse(text);
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  } catch {
    // Falls through to the refusal.
  }
  throw new ModelFormatError(`${METADATA_KEY.features} must be a JSON array of names`);
}
