import { parentPort, workerData } from 'node:worker_threads';
import { runCell } from './run-cell.js';
import type { WorkerAnswer } from './sweep.js';
import type { SweepCell, SweepWorkload } from './types.js';

const workloads = new Map((workerData as SweepWorkload[]).map((workload) => [workload.name, workload]));

parentPort!.on('message', ({ index, cell }: { index: number; cell: SweepCell }) => {
  parentPort!.postMessage(answer(index, cell));
});

function answer(index: number, cell: SweepCell): WorkerAnswer {
  try {
    return { index, row: runCell(workloads.get(cell.workload)!, cell) };
  } catch (error) {
    return { index, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
