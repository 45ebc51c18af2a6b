import type { ReplayResult, StageRecord, WorkflowRecord } from '../../sim/report/types.js';
import type { Clock, Timer } from '../../src/model/clock.js';
import type { TraceRow } from '../schema.js';
import { isRoot, type TraceWorkflow, waitMs } from '../workflow.js';

/** A stage that is due. */
export interface StageRequest {
  readonly workflow: TraceWorkflow;
  readonly row: TraceRow;
  readonly model: string;
  readonly sloClass: string;
  /** After the workflow's arrival. */
  readonly deadlineMs: number;
  /** Of the workflow, since the start of the run. */
  readonly arrivalMs: number;
  /** No other stage of the workflow is left. */
  readonly final: boolean;
}

/** How far a replay has come. */
export interface ReplayProgress {
  /** Since the start of the run. */
  readonly atMs: number;
  readonly workflows: {
    readonly total: number;
    readonly arrived: number;
    readonly ended: number;
    readonly met: number;
  };
  readonly stages: {
    readonly total: number;
    readonly sent: number;
    readonly completed: number;
    readonly failed: number;
  };
  readonly outputTokens: number;
}

export interface SchedulerOptions {
  readonly workflows: readonly TraceWorkflow[];
  readonly clock: Clock;
  readonly startedMs: number;
  /** Sends a stage; never rejects. */
  readonly send: (stage: StageRequest) => Promise<StageRecord>;
  /** The trace's own times (arrivals, think and tool times) pass so many times faster; deadlines stay. */
  readonly speed: number;
  readonly modelFor: (row: TraceRow) => string;
  readonly defaultClass: string;
  /** Deadline of workflows that name none, by class. */
  readonly deadlineMsFor: (sloClass: string) => number;
  /** Duration of the workflow alone on an idle fleet, where the caller can tell. */
  readonly isolatedMs: (workflow: TraceWorkflow) => number | undefined;
  readonly onProgress: (progress: ReplayProgress) => void;
}

interface Run {
  readonly workflow: TraceWorkflow;
  readonly record: WorkflowRecord;
  readonly deadlineMs: number;
  readonly followers: ReadonlyMap<string, readonly TraceRow[]>;
  /** Predecessors that each row still waits for. */
  readonly waiting: Map<string, number>;
  /** Stages that have not completed. */
  left: number;
  /** Stages sent that have not ended. */
  inFlight: number;
}

/**
 * Plays workflows: open loop for their arrivals, closed inside a workflow, where a stage starts when all its predecessors have completed,
 * plus think and tool time. Nothing is retried; what waits for a failed stage is never sent and its workflow has failed.
 */
export class ReplayScheduler {
  private readonly stages: StageRecord[] = [];
  private readonly runs: Run[] = [];
  private arrived = 0;
  private ended = 0;
  private met = 0;
  private sent = 0;
  private completed = 0;
  private outputTokens = 0;
  private readonly totalStages: number;
  private stopped = false;
  private readonly timers = new Set<Timer>();
  private finish: (() => void) | undefined;

  constructor(private readonly options: SchedulerOptions) {
    this.totalStages = options.workflows.reduce((sum, { rows }) => sum + rows.length, 0);
  }

  /** Plays everything and resolves when the last workflow has ended, or soon after {@link stop}. */
  async run(): Promise<ReplayResult> {
    const { workflows, speed } = this.options;
    const firstMs = workflows.reduce(
      (first, { arrivalMs = 0 }) => Math.min(first, arrivalMs),
      Number.POSITIVE_INFINITY,
    );
    if (workflows.length > 0) {
      await new Promise<void>((resolve) => {
        this.finish = resolve;
        for (const workflow of workflows) {
          const arrivalMs = ((workflow.arrivalMs ?? 0) - firstMs) / speed;
          this.later(arrivalMs - this.nowMs(), () => this.arrive(workflow));
        }
      });
    }
    const durationMs = this.nowMs();
    return { workflows: this.runs.map(({ record }) => record), stages: this.stages, durationMs };
  }

  /** Sends nothing more. The run resolves once the stages in flight have ended; the caller cancels those. */
  stop(): void {
    this.stopped = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    this.finishIfDone();
  }

  private nowMs(): number {
    return this.options.clock.nowMs() - this.options.startedMs;
  }

  private later(delayMs: number, action: () => void): void {
    const timer = this.options.clock.after(delayMs, () => {
      this.timers.delete(timer);
      action();
    });
    this.timers.add(timer);
  }

  private arrive(workflow: TraceWorkflow): void {
    const run = this.open(workflow);
    this.arrived += 1;
    this.runs.push(run);
    for (const row of workflow.rows) {
      if (isRoot(row)) this.after(run, row, ((row.timestamp ?? 0) - (workflow.arrivalMs ?? 0)) / this.options.speed);
    }
  }

  private open(workflow: TraceWorkflow): Run {
    const { defaultClass, deadlineMsFor, isolatedMs } = this.options;
    const sloClass = workflow.sloClass ?? defaultClass;
    const deadlineMs = workflow.deadlineMs ?? deadlineMsFor(sloClass);
    const arrivalMs = this.nowMs();
    const followers = new Map<string, TraceRow[]>();
    const waiting = new Map<string, number>();
    for (const row of workflow.rows) {
      const before = new Set(row.wait_for ?? []);
      waiting.set(row.request_id, before.size);
      for (const id of before) {
        const list = followers.get(id);
        if (list) list.push(row);
        else followers.set(id, [row]);
      }
    }
    return {
      workflow,
      deadlineMs,
      followers,
      waiting,
      left: workflow.rows.length,
      inFlight: 0,
      record: {
        workflowId: workflow.workflowId,
        template: workflow.template ?? 'default',
        tenant: workflow.tenant ?? 'default',
        sloClass,
        arrivalMs,
        deadlineMs: arrivalMs + deadlineMs,
        stages: workflow.rows.length,
        completed: false,
        met: false,
        isolatedMs: isolatedMs(workflow),
      },
    };
  }

  private after(run: Run, row: TraceRow, delayMs: number): void {
    if (delayMs <= 0) void this.send(run, row);
    else this.later(delayMs, () => void this.send(run, row));
  }

  private async send(run: Run, row: TraceRow): Promise<void> {
    // A workflow that has failed sends nothing more.
    if (this.stopped || run.record.error !== undefined) return;
    this.sent += 1;
    run.inFlight += 1;
    const stage = await this.options.send({
      workflow: run.workflow,
      row,
      model: this.options.modelFor(row),
      sloClass: run.record.sloClass,
      deadlineMs: run.deadlineMs,
      arrivalMs: run.record.arrivalMs,
      final: run.left === 1,
    });
    run.inFlight -= 1;
    this.stages.push(stage);
    this.outputTokens += stage.outputTokens;
    if (stage.outcome === 'completed') this.complete(run, row);
    else run.record.error ??= failure(row, stage);
    this.endIfOver(run);
    this.report();
    this.finishIfDone();
  }

  private complete(run: Run, row: TraceRow): void {
    this.completed += 1;
    run.left -= 1;
    for (const follower of run.followers.get(row.request_id) ?? []) {
      const waiting = run.waiting.get(follower.request_id)! - 1;
      run.waiting.set(follower.request_id, waiting);
      if (waiting === 0) this.after(run, follower, waitMs(follower) / this.options.speed);
    }
  }

  private endIfOver(run: Run): void {
    const { record } = run;
    record.completed = run.left === 0;
    const failed = record.error !== undefined && run.inFlight === 0 && !this.stopped;
    if (!record.completed && !failed) return;
    record.endMs = this.nowMs();
    record.met = record.completed && record.endMs <= record.deadlineMs;
    this.ended += 1;
    if (record.met) this.met += 1;
  }

  private finishIfDone(): void {
    const idle = this.stopped && this.sent === this.stages.length;
    if (idle || this.ended === this.options.workflows.length) this.finish?.();
  }

  private report(): void {
    this.options.onProgress({
      atMs: this.nowMs(),
      workflows: { total: this.options.workflows.length, arrived: this.arrived, ended: this.ended, met: this.met },
      stages: {
        total: this.totalStages,
        sent: this.sent,
        completed: this.completed,
        failed: this.stages.length - this.completed,
      },
      outputTokens: this.outputTokens,
    });
  }
}

function failure(row: TraceRow, stage: StageRecord): string {
  return `${row.request_id}: ${stage.outcome}${stage.error === undefined ? '' : ` (${stage.error})`}`;
}
