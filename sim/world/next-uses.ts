import type { EvictionPolicy } from '../../src/node/evict.js';
import type { ServiceTimeModel } from '../../src/predict/service-time.js';
import type { TraceRow } from '../../traces/schema.js';
import { type TraceWorkflow, timesAlone } from '../../traces/workflow.js';
import type { Arrival } from '../types.js';
import { WorkflowFuture } from './foresight.js';
import type { Run } from './runs.js';

/** When the stages of a workflow start if nothing makes them wait, milliseconds after its arrival. */
interface Timetable {
  readonly startMs: ReadonlyMap<string, number>;
  /** The same by model, ascending. */
  readonly byModel: ReadonlyMap<string, readonly number[]>;
}

/** How far a workflow under way has come. */
interface Progress {
  readonly timetable: Timetable;
  /** Start in the timetable of the latest stage that has begun. */
  atMs: number;
  readonly begun: Map<string, number>;
}

interface FirstUse {
  readonly arrivalMs: number;
  readonly useMs: number;
}

/**
 * When each model will be asked for next, read off the traffic that is still to come: of workflows under way by what is left of them, of later ones by their arrival. Queueing
 * is not foreseen, since it depends on what is decided. The simulator hands this to `oracle-residency` alone.
 */
export class NextUses {
  private readonly timetables = new Map<TraceWorkflow, Timetable>();
  private readonly open = new Map<Run, Progress>();
  /** First uses by workflows that have not arrived, latest first; those that have arrived are dropped when they come last. */
  private readonly first = new Map<string, FirstUse[]>();

  constructor(
    arrivals: Iterable<Arrival>,
    private readonly serviceTime: ServiceTimeModel | undefined,
  ) {
    for (const { atMs, workflow } of arrivals) {
      for (const [model, [offsetMs]] of this.timetable(workflow).byModel) {
        const uses = this.first.get(model) ?? [];
        uses.push({ arrivalMs: atMs, useMs: atMs + offsetMs! });
        this.first.set(model, uses);
      }
    }
    for (const uses of this.first.values()) uses.sort((a, b) => b.useMs - a.useMs);
  }

  /** From now; 0 where a stage waits already, Infinity where none will come. */
  inMs(model: string, nowMs: number): number {
    const first = this.first.get(model) ?? [];
    while (first.length > 0 && first.at(-1)!.arrivalMs <= nowMs) first.pop();
    let nextMs = first.length > 0 ? first.at(-1)!.useMs - nowMs : Number.POSITIVE_INFINITY;
    for (const { timetable, atMs, begun } of this.open.values()) {
      const startMs = timetable.byModel.get(model)?.[begun.get(model) ?? 0];
      if (startMs !== undefined) nextMs = Math.min(nextMs, Math.max(0, startMs - atMs));
    }
    return nextMs;
  }

  opened(run: Run): void {
    this.open.set(run, { timetable: this.timetable(run.arrival.workflow), atMs: 0, begun: new Map() });
  }

  /** A stage runs. */
  began(run: Run, row: TraceRow): void {
    const progress = this.open.get(run);
    if (!progress) return;
    const model = row.model ?? 'default';
    progress.begun.set(model, (progress.begun.get(model) ?? 0) + 1);
    progress.atMs = Math.max(progress.atMs, progress.timetable.startMs.get(row.request_id)!);
  }

  closed(run: Run): void {
    this.open.delete(run);
  }

  private timetable(workflow: TraceWorkflow): Timetable {
    let timetable = this.timetables.get(workflow);
    if (!timetable) {
      timetable = timetableOf(workflow, this.serviceTime);
      this.timetables.set(workflow, timetable);
    }
    return timetable;
  }
}

/**
 * Keeps what will be used soonest and is dear to bring back, for its bytes: the rule of Belady (1966), which is best where all pages cost and measure the same, with
 * reload and size put in. A heuristic, not a bound: it does not foresee queueing.
 */
export function oracleResidency(nextUseInMs: (engineId: string) => number): EvictionPolicy {
  return {
    name: 'oracle-residency',
    worth: ({ engineId, reloadMs, bytesFreed }) =>
      reloadMs / (Math.max(1, nextUseInMs(engineId)) * Math.max(1, bytesFreed)),
    costMs: () => 0,
  };
}

function timetableOf(workflow: TraceWorkflow, serviceTime: ServiceTimeModel | undefined): Timetable {
  const future = new WorkflowFuture(workflow, serviceTime);
  const times = timesAlone(workflow, (row) => future.serviceMs(row));
  const startMs = new Map<string, number>();
  const byModel = new Map<string, number[]>();
  for (const row of workflow.rows) {
    const atMs = times.get(row.request_id)!.startMs;
    startMs.set(row.request_id, atMs);
    const model = row.model ?? 'default';
    const starts = byModel.get(model);
    if (starts) starts.push(atMs);
    else byModel.set(model, [atMs]);
  }
  for (const starts of byModel.values()) starts.sort((a, b) => a - b);
  return { startMs, byModel };
}
