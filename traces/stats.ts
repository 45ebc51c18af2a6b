import type { TraceRow } from './schema.js';
import { groupWorkflows, type TraceWorkflow, waitMs } from './workflow.js';

export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface RoleStats {
  readonly template: string;
  readonly role: string;
  readonly stages: number;
  readonly inputTokens: Percentiles;
  readonly outputTokens: Percentiles;
}

/** What a trace holds, in numbers. Counts of absent things are 0, distributions of nothing are absent. */
export interface TraceStats {
  readonly workflows: number;
  readonly stages: number;
  readonly inputTokens: Percentiles | undefined;
  readonly outputTokens: Percentiles | undefined;
  readonly totalInputTokens: number;
  readonly totalOutputTokens: number;
  readonly stagesPerWorkflow: Percentiles | undefined;
  /** Longest chain of stages of a workflow. */
  readonly depth: Percentiles | undefined;
  /** Stages of a workflow that wait for the same stage. */
  readonly fanOut: Percentiles | undefined;
  /** Stages that one stage waits for. */
  readonly join: Percentiles | undefined;
  /** Think and tool time before a stage, of stages that have some. */
  readonly waitMs: Percentiles | undefined;
  /** Workflows that have an arrival. */
  readonly arrivals: number;
  /** First to last arrival; absent when the source records none. */
  readonly spanMs: number | undefined;
  readonly arrivalGapMs: Percentiles | undefined;
  /** Stages by model, class, template; `-` where a row names none. */
  readonly models: Readonly<Record<string, number>>;
  readonly classes: Readonly<Record<string, number>>;
  readonly roles: readonly RoleStats[];
  /** Rows that have each field. */
  readonly fields: Readonly<Record<string, number>>;
  /** Rows by what is derived, for example `output_length:sample:role`. */
  readonly derived: Readonly<Record<string, number>>;
}

export function traceStats(rows: readonly TraceRow[]): TraceStats {
  const workflows = groupWorkflows(rows);
  const fanOut = new Map<string, number>();
  for (const row of rows) for (const id of row.wait_for ?? []) fanOut.set(id, (fanOut.get(id) ?? 0) + 1);
  const arrivals = workflows.flatMap(({ arrivalMs }) => (arrivalMs === undefined ? [] : [arrivalMs]));
  arrivals.sort((a, b) => a - b);
  return {
    workflows: workflows.length,
    stages: rows.length,
    inputTokens: percentiles(rows.map((row) => row.input_length)),
    outputTokens: percentiles(rows.map((row) => row.output_length)),
    totalInputTokens: rows.reduce((sum, row) => sum + row.input_length, 0),
    totalOutputTokens: rows.reduce((sum, row) => sum + row.output_length, 0),
    stagesPerWorkflow: percentiles(workflows.map((workflow) => workflow.rows.length)),
    depth: percentiles(workflows.map((workflow) => depthOf(workflow.rows))),
    fanOut: percentiles([...fanOut.values()]),
    join: percentiles(rows.map((row) => row.wait_for?.length ?? 0).filter((count) => count > 0)),
    waitMs: percentiles(rows.map(waitMs).filter((wait) => wait > 0)),
    arrivals: arrivals.length,
    spanMs: arrivals.length === 0 ? undefined : arrivals.at(-1)! - arrivals[0]!,
    arrivalGapMs: percentiles(arrivals.slice(1).map((atMs, index) => atMs - arrivals[index]!)),
    models: tally(rows.map((row) => row.model ?? '-')),
    // What holds for the whole workflow may stand on one of its rows only.
    classes: tally(workflows.flatMap(({ sloClass, rows: own }) => own.map(() => sloClass ?? '-'))),
    roles: roleStats(workflows),
    fields: tally(rows.flatMap((row) => Object.keys(row))),
    derived: tally(rows.flatMap((row) => row.derived ?? [])),
  };
}

function roleStats(workflows: readonly TraceWorkflow[]): RoleStats[] {
  const groups = new Map<string, TraceRow[]>();
  for (const { template, rows } of workflows)
    for (const row of rows) {
      const key = `${template ?? '-'}\n${row.role ?? '-'}`;
      const group = groups.get(key);
      if (group) group.push(row);
      else groups.set(key, [row]);
    }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, group]) => {
      const [template = '-', role = '-'] = key.split('\n');
      return {
        template,
        role,
        stages: group.length,
        inputTokens: percentiles(group.map((row) => row.input_length))!,
        outputTokens: percentiles(group.map((row) => row.output_length))!,
      };
    });
}

/** Longest chain through `wait_for`, in stages; Kahn's order, because chains can be thousands long. */
function depthOf(rows: readonly TraceRow[]): number {
  const waiting = new Map<string, number>();
  const followers = new Map<string, string[]>();
  const depth = new Map<string, number>();
  const ready: string[] = [];
  for (const row of rows) {
    const before = new Set(row.wait_for ?? []);
    waiting.set(row.request_id, before.size);
    depth.set(row.request_id, 1);
    if (before.size === 0) ready.push(row.request_id);
    for (const id of before) {
      const list = followers.get(id);
      if (list) list.push(row.request_id);
      else followers.set(id, [row.request_id]);
    }
  }
  let deepest = 0;
  for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
    const own = depth.get(id)!;
    deepest = Math.max(deepest, own);
    for (const follower of followers.get(id) ?? []) {
      depth.set(follower, Math.max(depth.get(follower)!, own + 1));
      const left = waiting.get(follower)! - 1;
      waiting.set(follower, left);
      if (left === 0) ready.push(follower);
    }
  }
  return deepest;
}

/** Nearest-rank percentiles; undefined for no values. */
function percentiles(values: readonly number[]): Percentiles | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
  return {
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted.at(-1)!,
  };
}

function tally(words: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}
