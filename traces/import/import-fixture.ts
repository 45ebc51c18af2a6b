import { expect } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { checkTrace } from '../reader.js';
import type { Trace, TraceRow } from '../schema.js';
import type { SourceFile } from './importer.js';
import { IMPORTERS } from './registry.js';

/** A word that tests put into every text of a source: it must never come out of an importer. */
export const SECRET = 'zyzzyva';

/** A file of a source in memory: lines of text, or records that become lines of JSON. */
export function sourceFile(name: string, ...lines: readonly (string | object)[]): SourceFile {
  return {
    name,
    path: name,
    async *lines() {
      for (const line of lines) yield typeof line === 'string' ? line : JSON.stringify(line);
    },
  };
}

/** Imports, and checks what holds for every importer: the strict reader takes the rows, and they hold no text. */
export async function importFiles(
  format: string,
  files: readonly SourceFile[],
  options: { readonly limitWorkflows?: number; readonly textGrams?: boolean; readonly seed?: number } = {},
): Promise<Trace> {
  const importer = IMPORTERS.find((candidate) => candidate.format === format);
  if (!importer) throw new Error(`no importer ${format}`);
  const trace = await importer.read(files, {
    limitWorkflows: options.limitWorkflows ?? Number.POSITIVE_INFINITY,
    textGrams: options.textGrams ?? false,
    rng: new SeededRng(options.seed ?? 1),
  });
  const lines = [trace.header, ...trace.rows].map((line) => JSON.stringify(line));
  expect((await checkTrace(lines)).issues).toEqual([]);
  expect(lines.join('\n').toLowerCase()).not.toContain(SECRET);
  return trace;
}

/** The named fields of every row, for tables. */
export function fieldsOf<K extends keyof TraceRow>(trace: Trace, ...fields: readonly K[]): TraceRow[K][][] {
  return trace.rows.map((row) => fields.map((field) => row[field]));
}
