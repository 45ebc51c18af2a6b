import type { TraceRow } from './schema.js';
import { hashRunsOf } from './workflow.js';

/** One more than the highest block id of the rows. */
export function blockIdEnd(rows: readonly TraceRow[]): number {
  let end = 0;
  for (const row of rows) for (const [first, count] of hashRunsOf(row)) end = Math.max(end, first + count);
  return end;
}

/** The row with other block ids, so that it shares its prefix with no row that was not shifted alike. */
export function shiftBlocks(row: TraceRow, offset: number): TraceRow {
  const runs = hashRunsOf(row);
  if (runs.length === 0) return row;
  const { hash_ids: _, ...rest } = row;
  return { ...rest, hash_runs: runs.map(([first, count]) => [first + offset, count]) };
}
