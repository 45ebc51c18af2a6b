import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { MaestroError } from '../../src/model/error.js';
import { isObject, parseJson } from '../../src/model/json.js';
import type { Rng } from '../../src/model/rng.js';
import { BadFile, readLines } from '../lines.js';
import type { Trace } from '../schema.js';
import type { KeptText } from './text-fields.js';

/** One file of a source, as the importers see it. */
export interface SourceFile {
  /** File name with the two folders above it: some sources tell the model by a folder. */
  readonly name: string;
  /** As errors name it. */
  readonly path: string;
  lines(): AsyncIterable<string>;
  /** Takes what is wrong with a record that is left out; without it, such a record ends the import. */
  readonly passOver?: (error: BadFile) => void;
}

export interface ImportOptions extends KeptText {
  /** Take only the first so many workflows, in the source's order. */
  readonly limitWorkflows: number;
  /** For values that are drawn because the source does not record them. */
  readonly rng: Rng;
}

/** A public trace format. One file each in this folder, one line each in `registry.ts`. */
export interface TraceImporter {
  /** Name on the command line: the short name of the source. */
  readonly format: string;
  /** One sentence for `--help`: what the files are. */
  readonly summary: string;
  /** Reads all files of the source and tells them apart by their content. */
  read(files: readonly SourceFile[], options: ImportOptions): Promise<Trace>;
}

/** Documents that lie beside data and are no data. */
const NOT_DATA = /^(readme|licen[cs]e|notice|citation|sha256sums|\.)|\.(md|txt|pdf)$/i;

/** The data files behind paths; a folder stands for all data files in it and in the folders below, in the order of their names. */
export async function dataFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch(() => {
      throw new MaestroError('invalid_request', `${path}: no such file or folder`);
    });
    if (info.isDirectory()) await addFolder(path, files);
    else files.push(path);
  }
  if (files.length === 0) throw new MaestroError('invalid_request', `no data files in ${paths.join(', ')}`);
  return files;
}

/** Links to folders are not followed: they may go round in a circle. */
async function addFolder(folder: string, files: string[]): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (NOT_DATA.test(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await addFolder(path, files);
    else if (!(entry.isSymbolicLink() && (await stat(path).catch(() => undefined))?.isDirectory())) files.push(path);
  }
}

export async function openSources(
  paths: readonly string[],
  passOver?: (error: BadFile) => void,
): Promise<SourceFile[]> {
  return (await dataFiles(paths)).map((path) => ({
    ...{ name: path.split(/[\\/]/).slice(-3).join('/'), path, lines: () => readLines(path) },
    ...(passOver && { passOver }),
  }));
}

/** Where in its file a record stands: its line, from 1, or, of several on one line or laid out over lines, its number in words. */
export type Place = number | `record ${number}`;

/** A record of a source, unwrapped. */
export interface SourceRecord {
  readonly record: unknown;
  readonly line: Place;
  /** Upstream file that it came from. */
  readonly origin: string;
  /** What an archived copy wrote around it (`{_file, …, record}`); empty for original files. */
  readonly wrapper: Record<string, unknown>;
}

/** The records of a file: every line of JSONL, or the one document (or array) of a file that is a single JSON text. */
export async function* readRecords(file: SourceFile): AsyncGenerator<SourceRecord> {
  let line = 0;
  let begun = false;
  let whole: string[] | undefined;
  for await (const text of file.lines()) {
    line += 1;
    if (whole) whole.push(text);
    else if (text.trim() !== '') {
      const value = parseJson(text);
      // A text that is laid out over lines is no JSON in its first one.
      if (value === undefined && !begun) whole = [...Array<string>(line - 1).fill(''), text];
      else if (value === undefined) refuse(file, line, 'not JSON');
      else yield* unwrapAll(file, value, line);
      begun = true;
    }
  }
  if (!whole) return;
  const value = parseJson(whole.join('\n'));
  if (value !== undefined) {
    yield* unwrapAll(file, value, 1);
    return;
  }
  refuse(file, 1, 'neither JSON lines nor one JSON text');
  // The first of many lines was broken, and is left out.
  const later = whole.slice(1).map(parseJson);
  if (!later.some(isObject)) return;
  for (const [index, record] of later.entries()) {
    if (isObject(record)) yield unwrap(file, record, index + 2);
    else if (whole[index + 1]!.trim() !== '') refuse(file, index + 2, 'not a JSON object');
  }
}

/** A text of a source that is not JSON, or JSON of a shape of its own. */
export interface SourceText {
  readonly text: string;
  /** Line of the file on which it stands or begins, from 1. */
  readonly line: number;
  /** Upstream file that it came from. */
  readonly origin: string;
}

/** The texts of a file: those that an archived copy wraps line by line (`{_file, text}` or `{_file, csv}`), or the file itself. */
export async function* readTexts(file: SourceFile): AsyncGenerator<SourceText> {
  let line = 0;
  let whole: string[] | undefined;
  for await (const content of file.lines()) {
    line += 1;
    if (whole) whole.push(content);
    else if (content.trim() !== '') {
      const value = content.startsWith('{') ? parseJson(content) : undefined;
      const text = isObject(value) ? (value.text ?? value.csv) : undefined;
      if (isObject(value) && typeof text === 'string') {
        yield { text, line, origin: typeof value._file === 'string' ? value._file : file.name };
      } else if (line === 1 && !content.startsWith('{"_file"')) whole = [content];
      else refuse(file, line, 'no wrapped text');
    }
  }
  if (whole) yield { text: whole.join('\n'), line: 1, origin: file.name };
}

/** The records of a JSON text: itself, or those of an array. */
function* unwrapAll(file: SourceFile, value: unknown, line: number): Generator<SourceRecord> {
  const several = Array.isArray(value);
  for (const [index, record] of (several ? value : [value]).entries()) {
    const place: Place = several ? `record ${index + 1}` : line;
    if (isObject(record)) yield unwrap(file, record, place);
    else refuse(file, place, 'not a JSON object');
  }
}

function unwrap(file: SourceFile, value: Record<string, unknown>, line: Place): SourceRecord {
  if (!isObject(value.record)) return { record: value, line, origin: file.name, wrapper: {} };
  const origin = typeof value._file === 'string' ? value._file : file.name;
  return { record: value.record, line, origin, wrapper: value };
}

/**
 * A record of a source as its schema has it; what is wrong with it is told with file, line and field, after `what`. Undefined where records that do not fit are left out.
 */
export function parseRecord<T>(
  schema: z.ZodType<T>,
  record: unknown,
  file: SourceFile,
  line: Place,
  what = '',
): T | undefined {
  const parsed = schema.safeParse(record);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  refuse(file, line, `${what}${issue.path.join('.')}: ${issue.message}`);
  return undefined;
}

/** Of a record that is not of the format: throws, or, where such records are left out, tells what is wrong and returns. */
export function refuse(file: SourceFile, line: Place, message: string): void {
  const error = new BadFile(file.path, `${typeof line === 'number' ? `line ${line}` : line}: ${message}`);
  if (!file.passOver) throw error;
  file.passOver(error);
}
