import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair } from 'yaml';
import { withoutPassword } from '../model/engine-address.js';
import type { ConfigPath, ConfigProblem, Finding } from './problem.js';
import { formatPath } from './problem.js';

/** A parsed YAML file that knows where each of its fields stands. */
export interface YamlSource {
  readonly file: string;
  readonly text: string;
  readonly document: Document;
  readonly lineCounter: LineCounter;
}

/** Is this where the keys of the gateway are listed, or an entry there? What is written in place of a mapping is a key then. */
export function bareKeyAt(path: ConfigPath): boolean {
  return path[0] === 'gateway' && path[1] === 'keys' && path.length <= 3;
}

/** The problem with its place in the file. A field that is missing is placed at the innermost mapping that should hold it. */
export function placeFinding(source: YamlSource, finding: Finding): ConfigProblem {
  const { path, at, ...rest } = finding;
  const place = placeOffset(source, offsetOf(source, path, at));
  if (isBareKey(source.document, path)) place.source = '';
  return { ...rest, ...place, path: formatPath(path) };
}

/** File, line, column and text of the line of a character offset. */
export function placeOffset(
  source: YamlSource,
  offset: number,
): { -readonly [Name in 'file' | 'line' | 'column' | 'source']: ConfigProblem[Name] } {
  const { line, col } = source.lineCounter.linePos(offset);
  const written = source.text.split(/\r?\n/)[Math.max(0, line - 1)] ?? '';
  const text = withoutPassword(written.replace(/(key["']?\s*:\s*)\S.*$/i, '$1********'));
  return { file: source.file, line: Math.max(1, line), column: Math.max(1, col), source: text.slice(0, 160) };
}

/** A key that stands where a mapping with a key belongs: its line is not shown. */
function isBareKey(document: Document, path: ConfigPath): boolean {
  return bareKeyAt(path) && isScalar(document.getIn(path, true));
}

function offsetOf(source: YamlSource, path: ConfigPath, at: Finding['at']): number {
  let node: Node | undefined = resolve(source.document, source.document.contents ?? undefined);
  let offset = node?.range?.[0] ?? 0;
  for (const [depth, step] of path.entries()) {
    const last = depth === path.length - 1;
    if (isMap(node) && typeof step === 'string') {
      const pair = node.items.find((item) => keyOf(item) === step);
      if (!pair) return offset;
      const keyOffset = (pair.key as Node).range?.[0] ?? offset;
      if (last && at === 'key') return keyOffset;
      node = resolve(source.document, (pair.value ?? undefined) as Node | undefined);
      offset = last ? valueOffset(node, keyOffset) : keyOffset;
    } else if (isSeq(node) && typeof step === 'number') {
      const item = node.items[step] as Node | undefined;
      if (!item) return offset;
      offset = item.range?.[0] ?? offset;
      node = resolve(source.document, item);
    } else {
      return offset;
    }
  }
  return offset;
}

/** Scalars are marked themselves; a mapping or list is marked at its key. */
function valueOffset(node: Node | undefined, keyOffset: number): number {
  return isScalar(node) && node.value !== null ? (node.range?.[0] ?? keyOffset) : keyOffset;
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

function resolve(document: Document, node: Node | undefined): Node | undefined {
  return isAlias(node) ? (node.resolve(document) as Node | undefined) : node;
}
