import type { TraceRow } from '../../traces/schema.js';
import { isRoot, waitMs } from '../../traces/workflow.js';
import type { WorkflowRecord } from '../report/types.js';
import type { Arrival } from '../types.js';

/** A workflow under way: which of its stages still wait for others. */
export interface Run {
  readonly arrival: Arrival;
  readonly record: WorkflowRecord;
  readonly followers: ReadonlyMap<string, readonly TraceRow[]>;
  readonly waiting: Map<string, number>;
  /** Stages that have not completed, and those that are under way. */
  left: number;
  inFlight: number;
  /** Place in the list of open runs. */
  slot: number;
}

/** A stage that may start, and how long after now. */
interface ReadyStage {
  readonly row: TraceRow;
  readonly delayMs: number;
}

export function openRun(arrival: Arrival): Run {
  const { workflow, sloClass } = arrival;
  const { followers, waiting } = edgesOf(workflow.rows);
  return {
    arrival,
    followers,
    waiting,
    slot: -1,
    left: workflow.rows.length,
    inFlight: 0,
    record: {
      workflowId: workflow.workflowId,
      template: workflow.template ?? 'default',
      tenant: workflow.tenant ?? 'default',
      sloClass,
      arrivalMs: arrival.atMs,
      deadlineMs: arrival.atMs + arrival.deadlineMs,
      stages: workflow.rows.length,
      completed: false,
      met: false,
      isolatedMs: arrival.isolatedMs,
    },
  };
}

const NO_FOLLOWERS: ReadonlyMap<string, readonly TraceRow[]> = new Map();
const NOT_ONE: readonly ReadyStage[] = [];
const NO_WAITING = new Map<string, number>();

/** Who waits for whom. Most workflows of a chat trace have one stage, and need no tables. */
function edgesOf(rows: readonly TraceRow[]): Pick<Run, 'followers' | 'waiting'> {
  if (rows.every(isRoot)) return { followers: NO_FOLLOWERS, waiting: NO_WAITING };
  const followers = new Map<string, TraceRow[]>();
  const waiting = new Map<string, number>();
  for (const row of rows) {
    const before = new Set(row.wait_for ?? []);
    if (before.size === 0) continue;
    waiting.set(row.request_id, before.size);
    for (const id of before) {
      const list = followers.get(id);
      if (list) list.push(row);
      else followers.set(id, [row]);
    }
  }
  return { followers, waiting };
}

/** A stage that waits for none starts as far after the arrival as in the trace. */
export function rootDelayMs({ arrival: { workflow } }: Run, row: TraceRow): number {
  return Math.max(0, (row.timestamp ?? 0) - (workflow.arrivalMs ?? 0));
}

/** The stages that waited for this one last. */
export function completeStage(run: Run, row: TraceRow): readonly ReadyStage[] {
  run.left -= 1;
  if (run.followers.size === 0) return NOT_ONE;
  const ready: ReadyStage[] = [];
  for (const follower of run.followers.get(row.request_id) ?? []) {
    const left = run.waiting.get(follower.request_id)! - 1;
    run.waiting.set(follower.request_id, left);
    if (left === 0) ready.push({ row: follower, delayMs: waitMs(follower) });
  }
  return ready;
}
