import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Losses, tellLosses } from './losses.js';
import { runCell } from './run-cell.js';
import type { RunRow, SweepCell, SweepWorkload } from './types.js';

export interface SweepOptions {
  readonly workloads: readonly SweepWorkload[];
  readonly cells: readonly SweepCell[];
  /** Processes; default: one for each core. With 1, the runs go on in the calling process. */
  readonly jobs?: number;
  /** Called as each run ends, in any order. */
  readonly onRow?: (index: number, row: RunRow) => void;
  /** Asked when all runs have ended: runs that are to be played again call by call, by the same processes, whose code is compiled by then. */
  readonly toTell?: () => readonly RunRow[];
  /** Called with what {@link tellLosses} says of each of them, in any order. */
  readonly onTold?: (index: number, losses: Losses) => void;
}

/** What a worker is asked to do. */
export type WorkerTask = { readonly cell: SweepCell } | { readonly tell: RunRow };
/** What it answers. */
export type WorkerAnswer = { readonly row: RunRow } | { readonly losses: Losses } | { readonly error: string };

/** Runs every cell, several at once, each in a process of its own, which shares no garbage collector with the others; the rows come back in the order of the cells. */
export async function runSweep(options: SweepOptions): Promise<RunRow[]> {
  const { workloads, cells, onRow, toTell, onTold } = options;
  const rows = new Array<RunRow | undefined>(cells.length).fill(undefined);
  const jobs = Math.max(1, Math.min(options.jobs ?? availableParallelism(), cells.length));
  const noteRow = (index: number, answer: WorkerAnswer) => {
    if (!('row' in answer)) return;
    rows[index] = answer.row;
    onRow?.(index, answer.row);
  };
  const noteTold = (index: number, answer: WorkerAnswer) => {
    if ('losses' in answer) onTold?.(index, answer.losses);
  };
  const tasks = cells.map((cell): WorkerTask => ({ cell }));
  const laterTasks = () => (toTell?.() ?? []).map((tell): WorkerTask => ({ tell }));
  if (jobs === 1) {
    const byName = new Map(workloads.map((workload) => [workload.name, workload]));
    for (const [index, task] of tasks.entries()) noteRow(index, carryOut(task, byName));
    for (const [index, task] of laterTasks().entries()) noteTold(index, carryOut(task, byName));
    return rows as RunRow[];
  }
  const workers = Array.from({ length: jobs }, () =>
    fork(WORKER, { serialization: 'advanced', execArgv: [...process.execArgv, ...GARBAGE_COLLECTION] }),
  );
  try {
    for (const worker of workers) worker.send(workloads);
    await shareOut(workers, tasks, noteRow);
    await shareOut(workers, laterTasks(), noteTold);
  } finally {
    for (const worker of workers) worker.kill();
  }
  return rows as RunRow[];
}

/** Does a task, in whatever process. */
export function carryOut(task: WorkerTask, workloads: ReadonlyMap<string, SweepWorkload>): WorkerAnswer {
  if ('cell' in task) return { row: runCell(workloads.get(task.cell.workload)!, task.cell) };
  return { losses: tellLosses(workloads.get(task.tell.workload)!, task.tell) };
}

/** Gives every worker the next task as soon as it has done one. */
async function shareOut(
  workers: readonly ChildProcess[],
  tasks: readonly WorkerTask[],
  onAnswer: (index: number, answer: WorkerAnswer) => void,
): Promise<void> {
  let next = 0;
  await Promise.all(
    workers.map(async (worker) => {
      while (next < tasks.length) {
        const index = next++;
        const answer = await ask(worker, tasks[index]!);
        if ('error' in answer) throw new Error(answer.error);
        onAnswer(index, answer);
      }
    }),
  );
}

/**
 * How a process that only simulates collects its garbage. A stage lives for thousands of events, so that the usual young generation of 16 MB is collected while most of it is still in use:
 * with 64 MB a run on 40 engines takes a fifth less CPU. On a quiet machine neither twice as much nor a collector without helper threads does better.
 */
export const GARBAGE_COLLECTION: readonly string[] = ['--max-semi-space-size=64'];

/** Beside this file, from source as from the build. */
const WORKER = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url));

function ask(worker: ChildProcess, task: WorkerTask): Promise<WorkerAnswer> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null) =>
      reject(new Error(`a process of the sweep ended (${signal ?? `exit code ${code}`}); was there memory enough?`));
    worker.once('exit', onExit);
    worker.once('message', (answer) => {
      worker.removeListener('exit', onExit);
      resolve(answer as WorkerAnswer);
    });
    worker.send(task);
  });
}
