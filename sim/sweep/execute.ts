import { openJournal } from './journal.js';
import type { Losses } from './losses.js';
import type { SweepPlan } from './plan.js';
import { runSweep } from './sweep.js';
import type { RunRow, SweepWorkload } from './types.js';

export interface ExecuteOptions {
  /** Keeps the journal here, and goes on from one that it finds. */
  readonly directory?: string | undefined;
  /** What the folder holds of another sweep is replaced; an error without. */
  readonly replace?: boolean | undefined;
  /** Only every `of`-th cell, beginning with number `index` (1-based). */
  readonly shard?: { readonly index: number; readonly of: number } | undefined;
  readonly jobs?: number | undefined;
  readonly onProgress?: (done: number, total: number) => void;
  /** Of all rows, those whose losses are to be told when all have ended. */
  readonly toTell?: (rows: ReadonlyMap<number, RunRow>) => readonly RunRow[];
  /** Called with the losses of each of them, in any order. */
  readonly onTold?: (index: number, losses: Losses) => void;
}

/** Runs what is not yet in the journal. The rows are by the number of their cell; with a shard, those of other shards are missing. */
export async function executeSweep(
  plan: SweepPlan,
  workloads: readonly SweepWorkload[],
  { directory, replace, shard = { index: 1, of: 1 }, jobs, onProgress, toTell, onTold }: ExecuteOptions = {},
): Promise<Map<number, RunRow>> {
  const journal = directory === undefined ? undefined : openJournal(directory, plan, replace);
  const rows = journal?.rows ?? new Map<number, RunRow>();
  const own = plan.cells.map((_, index) => index).filter((index) => index % shard.of === shard.index - 1);
  const left = own.filter((index) => !rows.has(index));
  let done = own.length - left.length;
  onProgress?.(done, own.length);
  await runSweep({
    workloads,
    cells: left.map((index) => plan.cells[index]!),
    ...(jobs === undefined ? {} : { jobs }),
    onRow(position, row) {
      rows.set(left[position]!, row);
      journal?.add(left[position]!, row);
      done += 1;
      onProgress?.(done, own.length);
    },
    ...(toTell && { toTell: () => toTell(rows) }),
    ...(onTold && { onTold }),
  });
  return rows;
}
