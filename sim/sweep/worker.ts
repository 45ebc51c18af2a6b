import { shareNames } from './shared-names.js';
import { carryOut, type WorkerAnswer, type WorkerTask } from './sweep.js';
import type { SweepWorkload } from './types.js';

/** A process of a sweep: is told the workloads first, then one task after the other, and answers each. */
let workloads: ReadonlyMap<string, SweepWorkload> | undefined;

process.on('message', (message: readonly SweepWorkload[] | WorkerTask) => {
  if ('cell' in message || 'tell' in message) process.send!(answer(message));
  else workloads = new Map(shareNames(message).map((workload) => [workload.name, workload]));
});
process.on('disconnect', () => process.exit());

function answer(task: WorkerTask): WorkerAnswer {
  try {
    return carryOut(task, workloads!);
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
