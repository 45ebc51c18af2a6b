import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { z } from 'zod';
import { MaestroError } from '../../src/model/error.js';
import { isObject, parseJson } from '../../src/model/json.js';
import type { Rng } from '../../src/model/rng.js';
import { BadFile, readLines } from '../lines.js';
import type { Trace } from '../schema.js';
import type { KeptText } from './text-fields.js';

/** One file of a source, as the importers see it. */
export interface SourceFile {
  /** File name without folders. */
  readonly name: string;
  /** As errors name it. */
  readonly path: string;
  lines(): AsyncIterable<string>;
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

/** The data files behind paths; a folder stands for all data files in it, in the order of their names. */
export async function dataFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch(() => {
      throw new MaestroError('invalid_request', `${path}: no such file or folder`);
    });
    if (!info.isDirectory()) files.push(path);
    else {
      for (const name of (await readdir(path)).sort()) if (!NOT_DATA.test(name)) files.push(join(path, name));
    }
  }
  if (files.length === 0) throw new MaestroError('invalid_request', `no data files in ${paths.join(', ')}`);
  return files;
}

export async function openSources(paths: readonly string[]): Promise<SourceFile[]> {
  return (await dataFiles(paths)).map((path) => ({ name: basename(path), path, lines: () => readLines(path) }));
}

/** A record of a source, unwrapped. */
export interface SourceRecord {
  readonly record: unknown;
  /** Upstream file that it came from. */
  readonly origin: string;
  /** What an archived copy wrote around it (`{_file, …, record}`); empty for original files. */
  readonly wrapper: Record<string, unknown>;
}

/** The records of a file: every line of JSONL, or the one document (or array) of a file that is a single JSON text. */
export async function* readRecords(file: SourceFile): AsyncGenerator<SourceRecord> {
  let number = 0;
  let whole: string[] | undefined;
  for await (const line of file.lines()) {
    number += 1;
    if (whole) whole.push(line);
    else if (line.trim() !== '') {
      const value = parseJson(line);
      // A text that is laid out over lines is no JSON in its first one.
      if (value === undefined && number === 1) whole = [line];
      else if (!isObject(value)) throw badSource(file, number, value === undefined ? 'not JSON' : 'not a JSON object');
      else yield unwrap(file, value);
    }
  }
  if (!whole) return;
  const value = parseJson(whole.join('\n'));
  for (const record of Array.isArray(value) ? value : [value]) {
    if (!isObject(record)) throw badSource(file, 1, 'neither JSON lines nor one JSON text');
    yield unwrap(file, record);
  }
}

/** A text of a source that is not JSON, or JSON of a shape of its own. */
export interface SourceText {
  readonly text: string;
  /** Upstream file that it came from. */
  readonly origin: string;
}

/** The texts of a file: those that an archived copy wraps line by line (`{_file, text}` or `{_file, csv}`), or the file itself. */
export async function* readTexts(file: SourceFile): AsyncGenerator<SourceText> {
  let number = 0;
  let whole: string[] | undefined;
  for await (const line of file.lines()) {
    number += 1;
    if (whole) whole.push(line);
    else if (line.trim() !== '') {
      const value = line.startsWith('{') ? parseJson(line) : undefined;
      const text = isObject(value) ? (value.text ?? value.csv) : undefined;
      if (isObject(value) && typeof text === 'string') {
        yield { text, origin: typeof value._file === 'string' ? value._file : file.name };
      } else if (number === 1) whole = [line];
      else throw badSource(file, number, 'no wrapped text');
    }
  }
  if (whole) yield { text: whole.join('\n'), origin: file.name };
}

function unwrap(file: SourceFile, value: Record<string, unknown>): SourceRecord {
  if (!isObject(value.record)) return { record: value, origin: file.name, wrapper: {} };
  const origin = typeof value._file === 'string' ? value._file : file.name;
  return { record: value.record, origin, wrapper: value };
}

/** A record of a source as its schema has it; what is wrong with it is told with file, line and field, after `what`. */
export function parseRecord<T>(schema: z.ZodType<T>, record: unknown, file: SourceFile, line: number, what = ''): T {
  const parsed = schema.safeParse(record);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw badSource(file, line, `${what}${issue.path.join('.')}: ${issue.message}`);
}

export function badSource(file: SourceFile, line: number, message: string): BadFile {
  return new BadFile(file.path, `line ${line}: ${message}`);
}
