import type { ReplayResult } from '../../sim/report/types.js';
import type { Clock } from '../../src/model/clock.js';
import { MaestroError } from '../../src/model/error.js';
import type { TraceRow } from '../schema.js';
import { groupWorkflows, type TraceWorkflow } from '../workflow.js';
import { StageClient, type StageClientOptions } from './client.js';
import { type ReplayProgress, ReplayScheduler } from './scheduler.js';

export type { ReplayProgress } from './scheduler.js';

export interface ReplayOptions {
  /** Rows of a canonical trace with arrivals. */
  readonly trace: Iterable<TraceRow> | AsyncIterable<TraceRow>;
  /** Base URL of an OpenAI-compatible endpoint. */
  readonly target: string;
  readonly connect?: StageClientOptions['connect'];
  /** All times are measured on it; give a clock with the scale of the target. */
  readonly clock: Clock;
  /** The trace's arrivals, think and tool times pass so many times faster (default 1); deadlines stay. */
  readonly speed?: number | undefined;
  /** Only the first so many workflows by arrival. */
  readonly limitWorkflows?: number | undefined;
  /** Model to ask for; default: the one in the trace. */
  readonly modelFor?: ((row: TraceRow) => string | undefined) | undefined;
  /** Class of workflows that name none (default `interactive`). */
  readonly defaultClass?: string | undefined;
  /** Deadline of workflows that name none, by class (default: 60 s, `batch` 30 min). */
  readonly deadlineMsFor?: ((sloClass: string) => number) | undefined;
  readonly defaultMaxTokens?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly runId?: string | undefined;
  readonly stageTimeoutMs?: number | undefined;
  /** See {@link StageClient}: the workflow in the body too. */
  readonly agenticContext?: boolean | undefined;
  /** See {@link StageClient}: answers of a real engine as long as recorded. */
  readonly recordedLengths?: boolean | undefined;
  readonly isolatedMs?: ((workflow: TraceWorkflow) => number | undefined) | undefined;
  /** Called whenever a stage ends. */
  readonly onProgress?: ((progress: ReplayProgress) => void) | undefined;
  /** Stops the run: open stages end as cancelled, workflows that have not arrived are left out. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MAX_TOKENS = 2048;
const DEFAULT_STAGE_TIMEOUT_MS = 3_600_000;
/** Class of workflows that name none. */
export const DEFAULT_CLASS = 'interactive';

/** Deadline of a class where neither the trace nor the target says one. */
export function defaultDeadlineMs(sloClass: string): number {
  return sloClass === 'batch' ? 1_800_000 : 60_000;
}

/** Replays a trace against a live endpoint and returns what its client saw. */
export async function runReplay(options: ReplayOptions): Promise<ReplayResult> {
  const rows: TraceRow[] = [];
  for await (const row of options.trace) rows.push(row);
  const workflows = arrivalOrder(groupWorkflows(rows)).slice(0, options.limitWorkflows);
  const startedMs = options.clock.nowMs();
  const client = new StageClient({
    ...{ target: options.target, connect: options.connect },
    clock: options.clock,
    startedMs,
    defaultMaxTokens: options.defaultMaxTokens ?? DEFAULT_MAX_TOKENS,
    headers: options.headers ?? {},
    runId: options.runId,
    stageTimeoutMs: options.stageTimeoutMs ?? DEFAULT_STAGE_TIMEOUT_MS,
    agenticContext: options.agenticContext ?? false,
    recordedLengths: options.recordedLengths ?? false,
  });
  const scheduler = new ReplayScheduler({
    workflows,
    clock: options.clock,
    startedMs,
    send: (stage) => client.send(stage),
    speed: options.speed ?? 1,
    modelFor: (row) => options.modelFor?.(row) ?? row.model ?? 'default',
    defaultClass: options.defaultClass ?? DEFAULT_CLASS,
    deadlineMsFor: options.deadlineMsFor ?? defaultDeadlineMs,
    isolatedMs: options.isolatedMs ?? (() => undefined),
    onProgress: options.onProgress ?? (() => undefined),
  });
  const stop = () => {
    scheduler.stop();
    client.cancelAll();
  };
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    const running = scheduler.run();
    if (options.signal?.aborted) stop();
    return await running;
  } finally {
    options.signal?.removeEventListener('abort', stop);
    await client.close();
  }
}

function arrivalOrder(workflows: TraceWorkflow[]): TraceWorkflow[] {
  const timeless = workflows.find(({ arrivalMs }) => arrivalMs === undefined);
  if (timeless) {
    throw new MaestroError(
      'invalid_request',
      `workflow ${timeless.workflowId} has no timestamp: its source records no arrivals. Give it some with "maestro trace compose".`,
    );
  }
  return workflows.sort((a, b) => a.arrivalMs! - b.arrivalMs!);
}
