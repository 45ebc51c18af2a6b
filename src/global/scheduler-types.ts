import type { OrderPlace } from '../model/fleet.js';
import type { Prediction, SloClass, Stage, StageOutcome } from '../model/stage.js';
import type { KnownQueues, ModelQueueStats, QueueDiscipline } from './model-queue.js';
import { MAESTRO } from './order/maestro.js';
import type { Foresight, OrderingPolicy } from './order/policy.js';
import type { Retention } from './retention/retention.js';

/** Follows what the scheduler does, stage by stage; the self-tuning policy learns from it. */
export interface TrafficObserver {
  stageSubmitted(stage: Stage, prediction: Prediction, nowMs: number): void;
  stageStarted(stageId: string, nowMs: number): void;
  stageReturned(stageId: string): void;
  /** Without an outcome the stage was given up before it ran. */
  stageEnded(stageId: string, outcome: StageOutcome | undefined, nowMs: number): void;
}

export interface GlobalSchedulerConfig extends QueueDiscipline {
  readonly policy: OrderingPolicy;
  /** Classes by name; a stage of an unknown class counts as interactive. */
  readonly classes: readonly SloClass[];
  /** The truth about a stage, by its id; only a simulator has it. */
  readonly foresight?: ((stageId: string) => Foresight | undefined) | undefined;
  /** KV memory of all engines of a model, in tokens; models of which it is not known are missing. */
  readonly kvPoolTokens: ReadonlyMap<string, number>;
  /** Models that cannot all be awake at once on their GPUs. */
  readonly modelsTakingTurns: ReadonlySet<string>;
  /** Decides which contexts are kept while their workflows are in a tool call; nothing is kept without. */
  readonly retention?: Retention | undefined;
  readonly traffic?: TrafficObserver | undefined;
  /** With what it begins; with nothing where absent. A replay begins with what the scheduler knows that asks for it. */
  readonly known?: KnownQueues | undefined;
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxCountPerTenant: number;
  /** A stage that has waited this long leaves the queue with a rejection. */
  readonly interactiveTimeoutMs: number;
  readonly batchTimeoutMs: number;
}

export const DEFAULT_SCHEDULER_CONFIG: GlobalSchedulerConfig = {
  policy: MAESTRO,
  classes: [],
  kvPoolTokens: new Map(),
  modelsTakingTurns: new Set(),
  maxCount: 10_000,
  maxBytes: 1 << 30,
  maxCountPerTenant: 10_000,
  interactiveTimeoutMs: 5 * 60_000,
  batchTimeoutMs: 60 * 60_000,
  batchShare: 0.1,
  // A twentieth to the oldest: costs one or two points of attainment in overload and halves the worst waits (measured on toys).
  guardShare: 0.05,
  interactiveOverdueMs: 60_000,
  batchOverdueMs: 10 * 60_000,
  tenantSlackMs: 20_000,
};

export type SubmitRejection = 'queue-full-count' | 'queue-full-bytes' | 'tenant-queue-full';

export type SubmitResult =
  | { readonly kind: 'queued'; readonly orderKey: number }
  | { readonly kind: 'rejected'; readonly reason: SubmitRejection; readonly retryAfterMs: number };

/** A stage that leaves the queue for a cluster. */
export interface Dispatch extends OrderPlace {
  readonly stageId: string;
  readonly clusterId: string;
  /** For vLLM: lower is earlier, fits an int32. */
  readonly priority: number;
}

export interface SchedulerStats {
  readonly policy: string;
  /** Waiting stages: in order, blocked, or parked after a bounce. */
  readonly queued: number;
  readonly queuedBytes: number;
  readonly inFlight: number;
  readonly dispatched: number;
  readonly requeued: number;
  readonly expired: number;
  readonly rejected: Readonly<Record<SubmitRejection, number>>;
  readonly models: readonly ModelQueueStats[];
}
