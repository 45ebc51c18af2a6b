import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { RunRow, SweepCell, SweepWorkload } from './types.js';

export interface SweepOptions {
  readonly workloads: readonly SweepWorkload[];
  readonly cells: readonly SweepCell[];
  /** Threads; default: one for each core. */
  readonly jobs?: number;
  /** Called as each run ends, in any order. */
  readonly onRow?: (index: number, row: RunRow) => void;
}

/** What a worker is told and tells. */
export type WorkerAnswer =
  | { readonly index: number; readonly row: RunRow }
  | { readonly index: number; readonly error: string };

/** Runs every cell, several at once, each on a thread of its own; the rows come back in the order of the cells. */
export async function runSweep(options: SweepOptions): Promise<RunRow[]> {
  const { workloads, cells, onRow } = options;
  const rows = new Array<RunRow | undefined>(cells.length).fill(undefined);
  let next = 0;
  const jobs = Math.max(1, Math.min(options.jobs ?? availableParallelism(), cells.length));
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      const worker = new Worker(WORKER, { workerData: workloads });
      try {
        while (next < cells.length) {
          const index = next++;
          const answer = await ask(worker, index, cells[index]!);
          if ('error' in answer) throw new Error(answer.error);
          rows[index] = answer.row;
          onRow?.(index, answer.row);
        }
      } finally {
        await worker.terminate();
      }
    }),
  );
  return rows as RunRow[];
}

/** Beside this file, from source as from the build. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

function ask(worker: Worker, index: number, cell: SweepCell): Promise<WorkerAnswer> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.postMessage({ index, cell });
  });
}
