import { runCell } from './run-cell.js';
import type { WorkerAnswer } from './sweep.js';
import type { SweepCell, SweepWorkload } from './types.js';

/** A process of a sweep: is told the workloads first, then one cell after the other, and answers each with its row. */
let workloads: ReadonlyMap<string, SweepWorkload> | undefined;

process.on('message', (message: readonly SweepWorkload[] | { index: number; cell: SweepCell }) => {
  if ('index' in message) process.send!(answer(message.index, message.cell));
  else workloads = new Map(message.map((workload) => [workload.name, workload]));
});
process.on('disconnect', () => process.exit());

function answer(index: number, cell: SweepCell): WorkerAnswer {
  try {
    return { index, row: runCell(workloads!.get(cell.workload)!, cell) };
  } catch (error) {
    return { index, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
