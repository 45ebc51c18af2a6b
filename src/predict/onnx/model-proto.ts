import { appendFloats, appendIntegers, fieldText, ModelFormatError, type ProtoField, readFields } from './protobuf.js';

/** Field numbers of onnx.proto3, of the parts that are used here. */
export const FIELD = {
  model: { irVersion: 1, producerName: 2, producerVersion: 3, graph: 7, opsetImport: 8, metadata: 14 },
  opset: { domain: 1, version: 2 },
  entry: { key: 1, value: 2 },
  graph: { node: 1, name: 2, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, opType: 4, attribute: 5, domain: 7 },
  attribute: { name: 1, float: 2, integer: 3, text: 4, floats: 7, integers: 8, texts: 9, type: 20 },
  value: { name: 1, type: 2 },
  type: { tensor: 1 },
  tensor: { elementType: 1, shape: 2 },
  shape: { dimension: 1 },
  dimension: { value: 1, name: 2 },
} as const;

/** `AttributeProto.AttributeType`. */
export const ATTRIBUTE_TYPE = { integer: 2, text: 3, floats: 6, integers: 7, texts: 8 } as const;

/** `TensorProto.DataType.FLOAT`. */
export const FLOAT_ELEMENT = 1;

export interface GraphValue {
  readonly name: string;
  /** Number of `TensorProto.DataType`; undefined for what is no tensor. */
  readonly elementType: number | undefined;
  /** Sizes; undefined where a dimension is free. */
  readonly shape: readonly (number | undefined)[];
}

export interface GraphNode {
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, GraphAttribute>;
}

export interface GraphAttribute {
  readonly text: string;
  readonly integers: readonly number[];
  readonly floats: readonly number[];
  readonly texts: readonly string[];
}

export interface ModelProto {
  readonly producer: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly nodes: readonly GraphNode[];
}

/** Reads an ONNX file as far as a graph of tree ensembles goes; what else it holds is passed over. */
export function readModelProto(bytes: Uint8Array): ModelProto {
  const { model: m, graph: g } = FIELD;
  const fields = readFields(bytes);
  const graphField = fields.find((field) => field.number === m.graph);
  if (!graphField) throw new ModelFormatError('not an ONNX file: there is no graph in it');
  const graph = readFields(graphField.bytes);
  const all = <T>(from: readonly ProtoField[], number: number, read: (field: ProtoField) => T) =>
    from.filter((field) => field.number === number).map(read);
  return {
    producer: all(fields, m.producerName, fieldText)[0] ?? '',
    metadata: new Map(all(fields, m.metadata, readEntry)),
    inputs: all(graph, g.input, readValue),
    outputs: all(graph, g.output, readValue),
    nodes: all(graph, g.node, readNode),
  };
}

function readEntry(field: ProtoField): [string, string] {
  const fields = readFields(field.bytes);
  return [textOf(fields, FIELD.entry.key), textOf(fields, FIELD.entry.value)];
}

function readValue(field: ProtoField): GraphValue {
  const fields = readFields(field.bytes);
  const name = textOf(fields, FIELD.value.name);
  const tensor = descend(descend(fields, FIELD.value.type), FIELD.type.tensor);
  const elementType = tensor.find((part) => part.number === FIELD.tensor.elementType)?.integer;
  const shape = descend(tensor, FIELD.tensor.shape)
    .filter((part) => part.number === FIELD.shape.dimension)
    .map((part) => readFields(part.bytes).find((size) => size.number === FIELD.dimension.value)?.integer);
  return { name, elementType, shape };
}

function readNode(field: ProtoField): GraphNode {
  const { node: n } = FIELD;
  const fields = readFields(field.bytes);
  const texts = (number: number) => fields.filter((part) => part.number === number).map(fieldText);
  const attributes = fields.filter((part) => part.number === n.attribute).map(readAttribute);
  return {
    opType: textOf(fields, n.opType),
    inputs: texts(n.input),
    outputs: texts(n.output),
    attributes: new Map(attributes),
  };
}

function readAttribute(field: ProtoField): [string, GraphAttribute] {
  const { attribute: a } = FIELD;
  let name = '';
  let text = '';
  const integers: number[] = [];
  const floats: number[] = [];
  const texts: string[] = [];
  for (const part of readFields(field.bytes)) {
    if (part.number === a.name) name = fieldText(part);
    else if (part.number === a.text) text = fieldText(part);
    else if (part.number === a.integer || part.number === a.integers) appendIntegers(part, integers);
    else if (part.number === a.float || part.number === a.floats) appendFloats(part, floats);
    else if (part.number === a.texts) texts.push(fieldText(part));
  }
  return [name, { text, integers, floats, texts }];
}

function textOf(fields: readonly ProtoField[], number: number): string {
  const field = fields.find((part) => part.number === number);
  return field ? fieldText(field) : '';
}

function descend(fields: readonly ProtoField[], number: number): ProtoField[] {
  const field = fields.find((part) => part.number === number);
  return field ? readFields(field.bytes) : [];
}
