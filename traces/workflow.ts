import type { TraceRow } from './schema.js';
import { workflowIdOf } from './validator.js';

/** The rows of one agent run, with what holds for all of them. */
export interface TraceWorkflow {
  readonly workflowId: string;
  readonly tenant?: string;
  readonly template?: string;
  readonly sloClass?: string;
  /** After the arrival. */
  readonly deadlineMs?: number;
  /** Earliest timestamp of its roots; absent when the source records no arrivals. */
  readonly arrivalMs?: number;
  /** In file order. */
  readonly rows: readonly TraceRow[];
}

/** Rows by workflow, in the order of their first rows. Workflow-level fields are taken from the first row that has them. */
export function groupWorkflows(rows: Iterable<TraceRow>): TraceWorkflow[] {
  const groups = new Map<string, TraceRow[]>();
  for (const row of rows) {
    const workflowId = workflowIdOf(row);
    const group = groups.get(workflowId);
    if (group) group.push(row);
    else groups.set(workflowId, [row]);
  }
  return [...groups].map(([workflowId, group]) => toWorkflow(workflowId, group));
}

function toWorkflow(workflowId: string, rows: readonly TraceRow[]): TraceWorkflow {
  let arrivalMs: number | undefined;
  for (const row of rows) {
    if (isRoot(row) && row.timestamp !== undefined) arrivalMs = Math.min(arrivalMs ?? row.timestamp, row.timestamp);
  }
  const first = <K extends keyof TraceRow>(key: K) => rows.find((row) => row[key] !== undefined)?.[key];
  const tenant = first('tenant');
  const template = first('template');
  const sloClass = first('class');
  const deadlineMs = first('deadline_ms');
  return {
    workflowId,
    ...(tenant !== undefined && { tenant }),
    ...(template !== undefined && { template }),
    ...(sloClass !== undefined && { sloClass }),
    ...(deadlineMs !== undefined && { deadlineMs }),
    ...(arrivalMs !== undefined && { arrivalMs }),
    rows,
  };
}

export function isRoot(row: TraceRow): boolean {
  return row.wait_for === undefined || row.wait_for.length === 0;
}

/** When a stage runs if it never waits, milliseconds after the arrival of its workflow. */
export interface StageTime {
  readonly startMs: number;
  readonly endMs: number;
}

/** The times of all stages, by request id, when each takes `serviceMs(row)` and never waits: the longest paths through `wait_for`, with think and tool times. */
export function timesAlone(workflow: TraceWorkflow, serviceMs: (row: TraceRow) => number): Map<string, StageTime> {
  const byId = new Map(workflow.rows.map((row) => [row.request_id, row]));
  const times = new Map<string, StageTime>();
  // An explicit stack: chains of a thousand stages are real, and recursion that deep is not safe.
  const stack = [...workflow.rows];
  while (stack.length > 0) {
    const row = stack.at(-1)!;
    const missing = (row.wait_for ?? []).filter((before) => !times.has(before));
    if (missing.length > 0) {
      stack.push(...missing.map((before) => byId.get(before)!));
      continue;
    }
    stack.pop();
    if (times.has(row.request_id)) continue;
    const readyMs = isRoot(row)
      ? (row.timestamp ?? 0) - (workflow.arrivalMs ?? 0)
      : Math.max(...row.wait_for!.map((before) => times.get(before)!.endMs));
    const startMs = readyMs + waitMs(row);
    times.set(row.request_id, { startMs, endMs: startMs + serviceMs(row) });
  }
  return times;
}

/** Time that the workflow takes when each stage takes `serviceMs(row)` and never waits, milliseconds after the arrival. */
export function criticalPathMs(workflow: TraceWorkflow, serviceMs: (row: TraceRow) => number): number {
  let latestMs = 0;
  for (const { endMs } of timesAlone(workflow, serviceMs).values()) latestMs = Math.max(latestMs, endMs);
  return latestMs;
}

/** Think and tool time between the last predecessor and the start of a row. */
export function waitMs(row: TraceRow): number {
  return isRoot(row) ? 0 : (row.delay ?? 0) + (row.tool_wait_ms ?? 0);
}

const NO_RUNS: readonly never[] = [];

/** The prefix blocks of a row as runs of consecutive ids, whichever way they are written. */
export function hashRunsOf(row: TraceRow): readonly (readonly [firstId: number, count: number])[] {
  if (row.hash_runs) return row.hash_runs;
  return row.hash_ids === undefined ? NO_RUNS : toRuns(row.hash_ids);
}

/** Block size of Mooncake's traces, which do not carry it. */
const MOONCAKE_BLOCK_TOKENS = 512;

export function blockTokensOf(row: TraceRow): number {
  return row.block_tokens ?? MOONCAKE_BLOCK_TOKENS;
}

/** Runs of consecutive ids: `[7,8,9,3]` is `[[7,3],[3,1]]`. */
export function toRuns(ids: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const id of ids) {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === id) last[1] += 1;
    else runs.push([id, 1]);
  }
  return runs;
}
