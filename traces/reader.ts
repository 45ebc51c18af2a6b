import { MaestroError } from '../src/model/error.js';
import { readLines } from './lines.js';
import type { Trace, TraceHeader, TraceRow } from './schema.js';
import { describeIssue, type TraceIssue, TraceValidator } from './validator.js';

/** Where lines come from: a path, or lines already at hand (tests, standard input). */
export type TraceSource = string | AsyncIterable<string> | Iterable<string>;

/**
 * Streams the rows of a trace. Strict: the first bad row ends it with a {@link MaestroError} that names row and field; links between
 * rows are checked after the last one.
 */
async function* readTraceRows(source: TraceSource, onHeader?: (header: TraceHeader) => void): AsyncGenerator<TraceRow> {
  const validator = new TraceValidator();
  const name = typeof source === 'string' ? source : 'trace';
  const refuse = () => {
    if (validator.issues.length === 0) return;
    throw new MaestroError('invalid_request', `${name}: ${validator.issues.slice(0, 5).map(describeIssue).join('; ')}`);
  };
  for await (const line of linesOf(source)) {
    const parsed = validator.parse(line);
    if (parsed.kind === 'bad') refuse();
    if (parsed.kind === 'header') onHeader?.(parsed.header);
    if (parsed.kind === 'row') yield parsed.row;
  }
  validator.finish();
  refuse();
}

/** Reads a whole trace into memory. */
export async function readTrace(source: TraceSource): Promise<Trace> {
  const rows: TraceRow[] = [];
  let header: TraceHeader | undefined;
  for await (const row of readTraceRows(source, (seen) => (header = seen))) rows.push(row);
  return header ? { header, rows } : { rows };
}

/** Checks a whole trace and returns up to `limit` issues instead of stopping at the first; with so many it stops, and is not complete. */
export async function checkTrace(
  source: TraceSource,
  limit = 20,
): Promise<{ readonly rows: number; readonly issues: readonly TraceIssue[]; readonly isComplete: boolean }> {
  const validator = new TraceValidator();
  for await (const line of linesOf(source)) {
    validator.parse(line);
    if (validator.issues.length >= limit) break;
  }
  const isComplete = validator.issues.length < limit;
  if (isComplete) validator.finish();
  return { rows: validator.rowCount, issues: validator.issues.slice(0, limit), isComplete };
}

function linesOf(source: TraceSource): AsyncIterable<string> | Iterable<string> {
  return typeof source === 'string' ? readLines(source) : source;
}
