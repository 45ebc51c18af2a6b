import { type CallHistory, taughtTokens, taughtToolCall } from './examples.js';
import { FEATURE_NAMES, fillFeatures } from './features.js';
import { OutputLengths } from './output-length.js';
import { RemainingWork } from './remaining-work.js';
import type { RunningStatistics } from './running-statistics.js';
import { ServiceTimes } from './service-time.js';
import type { FeatureMatrix } from './trees/types.js';

/** The examples as numbers: a row a call, in the order in which the calls began. */
export interface TrainingTable {
  readonly matrix: FeatureMatrix;
  /** Logarithm of 1 + output tokens; NaN where the length is not known. */
  readonly logTokens: Float64Array;
  /** 1 for a tool call, 0 for another answer; NaN where the call had no choice. */
  readonly toolCalled: Float64Array;
  /** Logarithm of 1 + the service milliseconds that the workflow had left when the call began; NaN where it is not known to have ended. */
  readonly logRemaining: Float64Array;
  /** The call of each row, as its place in the history. */
  readonly calls: Int32Array;
}

/** As much as any training needs. */
const MAX_CELLS = 65_536;
const MAX_WORKFLOWS = 100_000;

/**
 * Runs through a history as it happened: each row holds what was known when its call began. `statistics` learn on the way, and stand after it where a
 * live predictor would.
 */
export function trainingTable(history: CallHistory, statistics: RunningStatistics): TrainingTable {
  const { calls, events } = history;
  const width = FEATURE_NAMES.length;
  const values = new Float64Array(calls.length * width);
  const logTokens = new Float64Array(calls.length).fill(Number.NaN);
  const toolCalled = new Float64Array(calls.length).fill(Number.NaN);
  const logRemaining = new Float64Array(calls.length).fill(Number.NaN);
  const order = new Int32Array(calls.length);
  const rows = new Map<string, number>();
  const lengths = new OutputLengths(MAX_CELLS);
  const services = new ServiceTimes();
  const limits = { maxCells: MAX_CELLS, maxWorkflows: MAX_WORKFLOWS };
  const work = new RemainingWork(limits, services, {
    learned: (_kind, toEndMs, row) => {
      logRemaining[row] = Math.log1p(toEndMs);
    },
    forgotten: () => undefined,
  });
  let row = 0;
  for (const event of events) {
    if (event.kind === 'workflowEnded') {
      work.workflowEnded(event.workflowId);
      continue;
    }
    const call = calls[event.call]!;
    const { stage, context, outcome } = call;
    const tokens = taughtTokens(call.outcome);
    const called = taughtToolCall(stage, outcome);
    if (event.kind === 'end') {
      statistics.observe(stage, context, tokens, called);
      if (tokens === undefined) continue;
      lengths.observe(stage, context, tokens);
      services.observe(stage, outcome);
      work.observe(stage, context, outcome, rows.get(stage.stageId)!);
      continue;
    }
    fillFeatures(
      stage,
      context,
      statistics.features(stage, context),
      { work: work.features(stage, context), lookup: lengths.estimate(stage, context) },
      values,
      row * width,
    );
    rows.set(stage.stageId, row);
    if (tokens !== undefined) logTokens[row] = Math.log1p(tokens);
    if (called !== undefined) toolCalled[row] = Number(called);
    order[row] = event.call;
    row++;
  }
  return { matrix: { rows: row, columns: FEATURE_NAMES, values }, logTokens, toolCalled, logRemaining, calls: order };
}

/** The rows of a table for which `keep` says yes. */
export function selectRows(table: TrainingTable, keep: (row: number) => boolean): TrainingTable {
  const width = table.matrix.columns.length;
  const rows: number[] = [];
  for (let row = 0; row < table.matrix.rows; row++) if (keep(row)) rows.push(row);
  const values = new Float64Array(rows.length * width);
  rows.forEach((row, index) => {
    values.set(table.matrix.values.subarray(row * width, (row + 1) * width), index * width);
  });
  return {
    matrix: { rows: rows.length, columns: table.matrix.columns, values },
    logTokens: Float64Array.from(rows, (row) => table.logTokens[row]!),
    toolCalled: Float64Array.from(rows, (row) => table.toolCalled[row]!),
    logRemaining: Float64Array.from(rows, (row) => table.logRemaining[row]!),
    calls: Int32Array.from(rows, (row) => table.calls[row]!),
  };
}
