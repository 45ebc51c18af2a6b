import type { OrderPlace } from '../../src/model/fleet.js';
import type { OutcomeKind, Prediction, Stage, StageContext, StageOutcome } from '../../src/model/stage.js';
import type { TraceRow } from '../../traces/schema.js';
import type { Scheduled } from '../event-loop.js';
import type { SimCluster } from './cluster.js';
import type { SimNode } from './node.js';
import type { Run } from './runs.js';

/** One stage on its way through the simulated house. */
export interface Job {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly prediction: Prediction;
  readonly run: Run;
  readonly row: TraceRow;
  /** What it will truly generate. Only the engine, and policies with foresight, look at it. */
  readonly outputTokens: number;
  /**
   * `queued` in the global order; `placing` on the way to a cluster or being placed there; `returning` to the order because no engine took it; `held` by a node;
   * `running` in an engine; `answered`: done, and the news is on the way; `ended`.
   */
  state: 'queued' | 'placing' | 'returning' | 'held' | 'running' | 'answered' | 'ended';
  /** Counts dispatches: a message about an earlier one is stale. */
  attempt: number;
  /** The process of the global level whose order it stands in. */
  incarnation: number;
  cluster: SimCluster | undefined;
  node: SimNode | undefined;
  engineId: string | undefined;
  rank: number | undefined;
  order: OrderPlace;
  priority: number;
  excluded: Set<string> | undefined;
  waitTimer: Scheduled | undefined;
  /** How often it has left an engine for another while it was held, since it was dispatched. */
  moves: number;
  /** How often it has made room for others. */
  requeues: number;
  /** Counts looks for another engine: an earlier one is stale. */
  looks: number;
  /** When an engine got it; -1 before. */
  startedMs: number;
  coldStartMs: number;
  firstTokenMs: number | undefined;
  cachedTokens: number;
}

const NO_ORDER: OrderPlace = { orderKey: 0 };

/** A stage as it comes to the global level. */
export function newJob(given: Pick<Job, 'stage' | 'context' | 'prediction' | 'run' | 'row' | 'outputTokens'>): Job {
  const { stage, context, prediction, run, row, outputTokens } = given;
  // Every field is named, so that all jobs have one shape.
  return {
    stage,
    context,
    prediction,
    run,
    row,
    outputTokens,
    state: 'queued',
    attempt: 0,
    incarnation: 0,
    cluster: undefined,
    node: undefined,
    engineId: undefined,
    rank: undefined,
    order: NO_ORDER,
    priority: 0,
    excluded: undefined,
    waitTimer: undefined,
    moves: 0,
    requeues: 0,
    looks: 0,
    startedMs: -1,
    coldStartMs: 0,
    firstTokenMs: undefined,
    cachedTokens: 0,
  };
}

/** What has come of a stage that ends now. */
export function outcomeOf(job: Job, kind: OutcomeKind, reason: string | undefined, nowMs: number): StageOutcome {
  const { stage, row, outputTokens, cachedTokens, firstTokenMs, startedMs } = job;
  const durationMs = nowMs - stage.arrivalMs;
  if (kind !== 'completed') return { kind, reason, httpStatus: 500, durationMs };
  return {
    kind,
    reason,
    httpStatus: 200,
    durationMs,
    promptTokens: stage.promptTokens,
    cachedTokens,
    outputTokens,
    finishReason: outputTokens === stage.maxTokens ? 'length' : 'stop',
    toolCalled: row.tool_called,
    ttftMs: firstTokenMs! - stage.arrivalMs,
    serviceMs: nowMs - startedMs,
  };
}
