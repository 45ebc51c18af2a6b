import { traceCalls } from '../../sim/predict/trace-calls.js';
import { readTrace } from '../../traces/reader.js';
import { type CallHistory, joinHistories } from '../predict/examples.js';

/** The calls of canonical traces, one trace after the other. */
export async function readHistory(paths: readonly string[]): Promise<CallHistory> {
  const histories: CallHistory[] = [];
  for (const path of paths) histories.push(traceCalls((await readTrace(path)).rows));
  return joinHistories(histories);
}
