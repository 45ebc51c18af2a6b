import { type CallExample, type CallHistory, filterHistory, taughtTokens, taughtToolCall } from './examples.js';
import { FEATURE_NAMES, fillFeatures } from './features.js';
import { OutputLengths } from './output-length.js';
import { NO_NOTE, RemainingWork } from './remaining-work.js';
import { RunningStatistics } from './running-statistics.js';
import { ServiceTimes } from './service-time.js';
import type { FeatureMatrix } from './trees/types.js';

/** The examples as numbers: a row a call, in the order in which the calls began. */
export interface TrainingTable {
  readonly matrix: FeatureMatrix;
  /** Logarithm of 1 + output tokens; NaN where the length is not known. */
  readonly logTokens: Float64Array;
  /** What looking up would have said, in tokens. */
  readonly lookupTokens: Float64Array;
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

/** Which calls belong together. */
export type CallGroups = (call: CallExample) => number;

/**
 * Runs through a history as it happened: each row holds what was known when its call began, from calls that had ended before.
 *
 * @param groupOf With it the calls of all other groups are known from the beginning, as those of the training are when a model serves with its state; of the own group, what had
 *   ended before. Without, nothing is known at first: so it is where a model serves whom it has never seen.
 */
export function trainingTable(history: CallHistory, groupOf: CallGroups = () => 0): TrainingTable {
  const { calls, events } = history;
  const order = events.flatMap((event) => (event.kind === 'begin' ? [event.call] : []));
  const rows = order.length;
  const table: TrainingTable = {
    matrix: { rows, columns: FEATURE_NAMES, values: new Float64Array(rows * FEATURE_NAMES.length) },
    logTokens: new Float64Array(rows).fill(Number.NaN),
    lookupTokens: new Float64Array(rows),
    toolCalled: new Float64Array(rows).fill(Number.NaN),
    logRemaining: new Float64Array(rows).fill(Number.NaN),
    calls: Int32Array.from(order),
  };
  const rowOf = new Map(order.map((place, row) => [calls[place]!, row]));
  for (const group of new Set(order.map((place) => groupOf(calls[place]!)))) {
    const seen = new SeenCalls(table);
    seen.learn(filterHistory(history, (call) => groupOf(call) !== group));
    seen.fill(
      filterHistory(history, (call) => groupOf(call) === group),
      rowOf,
    );
  }
  return table;
}

/** What has been seen of calls, on the way through a history. */
class SeenCalls {
  private readonly statistics = new RunningStatistics(MAX_CELLS);
  private readonly lengths = new OutputLengths(MAX_CELLS);
  private readonly services = new ServiceTimes();
  private readonly work: RemainingWork;

  constructor(private readonly table: TrainingTable) {
    this.work = new RemainingWork({ maxCells: MAX_CELLS, maxWorkflows: MAX_WORKFLOWS }, this.services, {
      learned: (_kind, toEndMs, row) => {
        if (row !== NO_NOTE) table.logRemaining[row] = Math.log1p(toEndMs);
      },
      forgotten: () => undefined,
    });
  }

  /** Calls that get no rows. */
  learn({ calls, events }: CallHistory): void {
    for (const event of events) {
      if (event.kind === 'end') this.ended(calls[event.call]!, NO_NOTE);
      else if (event.kind === 'workflowEnded') this.work.workflowEnded(event.workflowId);
    }
  }

  fill({ calls, events }: CallHistory, rowOf: ReadonlyMap<CallExample, number>): void {
    for (const event of events) {
      if (event.kind === 'workflowEnded') this.work.workflowEnded(event.workflowId);
      else {
        const call = calls[event.call]!;
        const row = rowOf.get(call)!;
        if (event.kind === 'begin') this.begun(call, row);
        else this.ended(call, row);
      }
    }
  }

  private begun({ stage, context, outcome }: CallExample, row: number): void {
    const { table } = this;
    const tokens = taughtTokens(outcome);
    const called = taughtToolCall(stage, outcome);
    const work = this.work.features(stage, context);
    const lookup = this.lengths.estimate(stage, context);
    const { values } = table.matrix;
    fillFeatures(
      stage,
      context,
      this.statistics.features(stage, context),
      { work, lookup },
      values,
      row * FEATURE_NAMES.length,
    );
    table.lookupTokens[row] = lookup.q50;
    if (tokens !== undefined) table.logTokens[row] = Math.log1p(tokens);
    if (called !== undefined) table.toolCalled[row] = Number(called);
  }

  private ended({ stage, context, outcome }: CallExample, note: number): void {
    const tokens = taughtTokens(outcome);
    this.statistics.observe(stage, context, tokens, taughtToolCall(stage, outcome));
    if (tokens === undefined) return;
    this.lengths.observe(stage, context, tokens);
    this.services.observe(stage, outcome);
    this.work.observe(stage, context, outcome, note);
  }
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
    lookupTokens: Float64Array.from(rows, (row) => table.lookupTokens[row]!),
    toolCalled: Float64Array.from(rows, (row) => table.toolCalled[row]!),
    logRemaining: Float64Array.from(rows, (row) => table.logRemaining[row]!),
    calls: Int32Array.from(rows, (row) => table.calls[row]!),
  };
}
