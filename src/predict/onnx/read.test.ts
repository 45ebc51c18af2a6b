import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomEnsemble } from '../../../test/random-ensemble.js';
import { SeededRng } from '../../model/rng.js';
import { predictRow } from '../trees/evaluate.js';
import { METADATA_KEY, type TreeModel } from './model.js';
import { ATTRIBUTE_TYPE, FIELD } from './model-proto.js';
import { ModelFormatError, ProtoWriter, readFields } from './protobuf.js';
import { readModel } from './read.js';
import { writeModel } from './write.js';

const MISSING = Number.NaN;

function smallModel(metadata: Record<string, string> = {}): TreeModel {
  const ensemble = randomEnsemble(new SeededRng(3), { trees: 3, leaves: 4, features: 2 });
  const features = ['a', 'b'];
  return { features, featureCount: 2, outputs: [{ name: 'y', ensemble }], metadata: new Map(Object.entries(metadata)) };
}

type Attributes = Record<string, number | readonly number[] | Float32Array | string | readonly string[]>;

/** One split: x[0] ≤ 1 gives 10, else 20; missing values go where the comparison is false. */
const STUMP: Attributes = {
  nodes_treeids: [0, 0, 0],
  nodes_nodeids: [0, 1, 2],
  nodes_featureids: [0, 0, 0],
  nodes_values: Float32Array.of(1, 0, 0),
  nodes_modes: ['BRANCH_LEQ', 'LEAF', 'LEAF'],
  nodes_truenodeids: [1, 0, 0],
  nodes_falsenodeids: [2, 0, 0],
  target_treeids: [0, 0],
  target_nodeids: [1, 2],
  target_ids: [0, 0],
  target_weights: Float32Array.of(10, 20),
  n_targets: 1,
};

/** The root's first child is not among the nodes. */
const ORPHAN: Attributes = {
  nodes_treeids: [0, 0],
  nodes_nodeids: [0, 2],
  nodes_featureids: [0, 0],
  nodes_values: Float32Array.of(1, 0),
  nodes_modes: ['BRANCH_LEQ', 'LEAF'],
  nodes_truenodeids: [9, 0],
  nodes_falsenodeids: [2, 0],
};

/** Node 3 is both children of node 1. */
const TWO_PARENTS: Attributes = {
  nodes_treeids: [0, 0, 0, 0],
  nodes_nodeids: [0, 1, 2, 3],
  nodes_featureids: [0, 0, 0, 0],
  nodes_values: Float32Array.of(1, 1, 0, 0),
  nodes_modes: ['BRANCH_LEQ', 'BRANCH_LEQ', 'LEAF', 'LEAF'],
  nodes_truenodeids: [1, 3, 0, 0],
  nodes_falsenodeids: [2, 3, 0, 0],
};

function asClassifier({ target_treeids, target_nodeids, target_ids, target_weights }: Attributes): Attributes {
  const leaves = { class_treeids: target_treeids!, class_nodeids: target_nodeids!, class_ids: target_ids! };
  return { ...leaves, class_weights: target_weights!, classlabels_int64s: [0, 1] };
}

interface NodeSpec {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Attributes;
}

const REGRESSOR: NodeSpec = { op: 'TreeEnsembleRegressor', inputs: ['x'], outputs: ['y'], attributes: STUMP };

function attributeOf(name: string, value: Attributes[string]): ProtoWriter {
  const { attribute: a } = FIELD;
  const typed = (type: number) => new ProtoWriter().text(a.name, name).integer(a.type, type);
  if (typeof value === 'number') return typed(ATTRIBUTE_TYPE.integer).integer(a.integer, value);
  if (typeof value === 'string') return typed(ATTRIBUTE_TYPE.text).text(a.text, value);
  if (value instanceof Float32Array) return typed(ATTRIBUTE_TYPE.floats).packedFloats(a.floats, value);
  const list = typed(typeof value[0] === 'string' ? ATTRIBUTE_TYPE.texts : ATTRIBUTE_TYPE.integers);
  // Not packed: both ways of writing a list are in use.
  for (const entry of value) {
    if (typeof entry === 'string') list.text(a.texts, entry);
    else list.integer(a.integers, entry);
  }
  return list;
}

/** An ONNX file with the nodes given, an input x of `[?, width]` and an output y. */
function fileOf(nodes: readonly NodeSpec[], { elementType = 1, width = 2, inputs = 1 } = {}): Uint8Array {
  const graph = new ProtoWriter();
  for (const { op, inputs: from, outputs: to, attributes = {} } of nodes) {
    const node = new ProtoWriter().text(FIELD.node.opType, op);
    for (const name of from) node.text(FIELD.node.input, name);
    for (const name of to) node.text(FIELD.node.output, name);
    for (const [name, value] of Object.entries(attributes))
      node.message(FIELD.node.attribute, attributeOf(name, value));
    graph.message(FIELD.graph.node, node);
  }
  const shape = new ProtoWriter().message(FIELD.shape.dimension, new ProtoWriter().text(FIELD.dimension.name, 'rows'));
  shape.message(FIELD.shape.dimension, new ProtoWriter().integer(FIELD.dimension.value, width));
  const tensor = new ProtoWriter().integer(FIELD.tensor.elementType, elementType).message(FIELD.tensor.shape, shape);
  const type = new ProtoWriter().message(FIELD.type.tensor, tensor);
  for (let index = 0; index < inputs; index++) {
    graph.message(FIELD.graph.input, new ProtoWriter().text(FIELD.value.name, 'x').message(FIELD.value.type, type));
  }
  graph.message(FIELD.graph.output, new ProtoWriter().text(FIELD.value.name, 'y'));
  return new ProtoWriter().message(FIELD.model.graph, graph).finish();
}

function predictOf(nodes: readonly NodeSpec[], x: number): number {
  return predictRow(readModel(fileOf(nodes)).outputs[0]!.ensemble, Float64Array.of(x, 0), 0);
}

function stump(changes: Attributes): NodeSpec[] {
  return [{ ...REGRESSOR, attributes: { ...STUMP, ...changes } }];
}

describe('readModel', () => {
  it('keeps metadata, and the names of the features', () => {
    const read = readModel(writeModel(smallModel({ [METADATA_KEY.schemaHash]: 'abc', 'own.key': 'ünï' })));
    expect(read.features).toEqual(['a', 'b']);
    expect(read.metadata.get(METADATA_KEY.schemaHash)).toBe('abc');
    expect(read.metadata.get('own.key')).toBe('ünï');
  });

  it('writes equal models as equal bytes', () => {
    const [one, two] = [
      { a: '1', b: '2' },
      { b: '2', a: '1' },
    ].map((metadata) => writeModel(smallModel(metadata)));
    expect(two).toEqual(one);
  });

  const before = 1 - 2 ** -24;
  it.each<[string, Attributes, [at: number, expected: number][]]>([
    [
      'at most',
      {},
      [
        [1, 10],
        [1.5, 20],
        [MISSING, 20],
      ],
    ],
    [
      'below',
      { nodes_modes: ['BRANCH_LT', 'LEAF', 'LEAF'] },
      [
        [before, 10],
        [1, 20],
        [MISSING, 20],
      ],
    ],
    [
      'above',
      { nodes_modes: ['BRANCH_GT', 'LEAF', 'LEAF'] },
      [
        [1, 20],
        [1.5, 10],
        [MISSING, 20],
      ],
    ],
    [
      'at least',
      { nodes_modes: ['BRANCH_GTE', 'LEAF', 'LEAF'] },
      [
        [before, 20],
        [1, 10],
        [MISSING, 20],
      ],
    ],
    ['missing goes with true', { nodes_missing_value_tracks_true: [1, 0, 0] }, [[MISSING, 10]]],
    [
      'missing goes with true, above',
      { nodes_missing_value_tracks_true: [1, 0, 0], nodes_modes: ['BRANCH_GT', 'LEAF', 'LEAF'] },
      [
        [MISSING, 10],
        [0, 20],
      ],
    ],
    ['a base value', { base_values: Float32Array.of(5) }, [[1, 15]]],
    ['an average of one tree', { aggregate_function: 'AVERAGE' }, [[1, 10]]],
    ['a logistic end', { post_transform: 'LOGISTIC' }, [[1, 1 / (1 + Math.exp(-10))]]],
  ])('understands: %s', (_, changes, facts) => {
    for (const [x, expected] of facts) expect(predictOf(stump(changes), x)).toBeCloseTo(expected, 9);
  });

  it('takes the second class of a classifier, passes over its label, and goes through Identity and Sigmoid', () => {
    const attributes = { ...STUMP, ...asClassifier(STUMP) };
    const classifier = { op: 'TreeEnsembleClassifier', inputs: ['x'], outputs: ['label', 'scores'], attributes };
    const sigmoid = { op: 'Sigmoid', inputs: ['scores'], outputs: ['p'] };
    const identity = { op: 'Identity', inputs: ['p'], outputs: ['y'] };
    expect(predictOf([classifier, sigmoid, identity], 0)).toBeCloseTo(1 / (1 + Math.exp(-10)), 12);
    const both = { ...attributes, class_ids: [0, 1] };
    expect(predictOf([{ ...classifier, outputs: ['label', 'y'], attributes: both }], 0)).toBe(0);
    expect(predictOf([{ ...classifier, outputs: ['label', 'y'], attributes: both }], 2)).toBe(20);
  });

  const classes = { ...asClassifier(STUMP), classlabels_int64s: [0, 1, 2] };
  it.each<[string, RegExp, Uint8Array]>([
    ['an empty file', /no graph/, new Uint8Array(0)],
    ['text', /./, new TextEncoder().encode('{"not": "a model"}')],
    ['a graph without nodes', /nothing computes/, fileOf([])],
    ['another operator', /needs the operator Gemm/, fileOf([{ op: 'Gemm', inputs: ['x'], outputs: ['y'] }])],
    ['a loop', /depends on itself/, fileOf([{ op: 'Identity', inputs: ['y'], outputs: ['y'] }])],
    ['another input', /not computed from "x"/, fileOf([{ ...REGRESSOR, inputs: ['z'] }])],
    ['double input', /must be float32/, fileOf([REGRESSOR], { elementType: 11 })],
    ['two inputs', /has 2 inputs/, fileOf([REGRESSOR], { inputs: 2 })],
    ['two targets', /has 2 targets/, fileOf(stump({ n_targets: 2 }))],
    [
      'three classes',
      /3 classes/,
      fileOf([
        { ...REGRESSOR, op: 'TreeEnsembleClassifier', outputs: ['l', 'y'], attributes: { ...STUMP, ...classes } },
      ]),
    ],
    [
      'only a label',
      /no output that is a prediction/,
      fileOf([{ ...REGRESSOR, op: 'TreeEnsembleClassifier', attributes: { ...STUMP, ...classes } }]),
    ],
    ['a feature too far', /asks for feature 7 of 2/, fileOf(stump({ nodes_featureids: [7, 0, 0] }))],
    ['a child that is not there', /points to node 9/, fileOf(stump(ORPHAN))],
    ['a tree that loops', /has 0 roots|no path leads to/, fileOf(stump({ nodes_truenodeids: [0, 0, 0] }))],
    ['two roots', /has 2 roots/, fileOf(stump({ nodes_falsenodeids: [1, 0, 0] }))],
    ['a node with two parents', /is no tree/, fileOf(stump(TWO_PARENTS))],
    ['lists of other lengths', /not of one length/, fileOf(stump({ nodes_featureids: [0] }))],
    ['a node twice', /has node 1 twice/, fileOf(stump({ nodes_nodeids: [0, 1, 1] }))],
    [
      'a leaf that is not a number',
      /leaf 1 of tree 0 is NaN/,
      fileOf(stump({ target_weights: Float32Array.of(MISSING, 1) })),
    ],
    [
      'a threshold that is not a number',
      /threshold is not a number/,
      fileOf(stump({ nodes_values: Float32Array.of(MISSING, 0, 0) })),
    ],
    [
      'sets of categories',
      /BRANCH_EQ are not supported/,
      fileOf(stump({ nodes_modes: ['BRANCH_EQ', 'LEAF', 'LEAF'] })),
    ],
    ['softmax', /post_transform SOFTMAX/, fileOf(stump({ post_transform: 'SOFTMAX' }))],
    ['the largest tree', /aggregate_function MAX/, fileOf(stump({ aggregate_function: 'MAX' }))],
    ['names of features that are no list', /JSON array/, writeWithFeatures('{"a":1}')],
    ['too few names of features', /names 1 features, the input has 2/, writeWithFeatures('["a"]')],
  ])('refuses %s', (_, message, file) => {
    const read = () => readModel(file);
    expect(read).toThrow(ModelFormatError);
    expect(read).toThrow(message);
  });

  function writeWithFeatures(json: string): Uint8Array {
    const { model: m, entry } = FIELD;
    const metadata = new ProtoWriter().text(entry.key, METADATA_KEY.features).text(entry.value, json);
    const extra = new ProtoWriter().message(m.metadata, metadata).finish();
    return Uint8Array.of(...fileOf([REGRESSOR]), ...extra);
  }

  it('refuses a file that is cut off anywhere in its graph', () => {
    const file = writeModel(smallModel());
    const graph = readFields(file).find((field) => field.number === FIELD.model.graph)!.bytes;
    const graphEnd = graph.byteOffset - file.byteOffset + graph.length;
    expect(graphEnd).toBeGreaterThan(file.length / 2);
    for (let length = 0; length < graphEnd; length++) {
      expect(() => readModel(file.subarray(0, length))).toThrow(ModelFormatError);
    }
  });

  it('reads a file with any byte changed into something that predicts, or refuses it', () => {
    const file = writeModel(smallModel());
    const row = Float64Array.of(0.3, MISSING);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        (changes) => {
          const broken = file.slice();
          for (const [at, byte] of changes) broken[at] = byte;
          try {
            for (const { ensemble } of readModel(broken).outputs) expect(predictRow(ensemble, row, 0)).not.toBeNaN();
          } catch (error) {
            expect(error).toBeInstanceOf(ModelFormatError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
