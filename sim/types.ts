import type { KnownQueues } from '../src/global/model-queue.js';
import type { OrderingPolicy } from '../src/global/order/policy.js';
import type { RetentionRuleName } from '../src/global/retention/rules.js';
import type { GlobalSchedulerConfig, TrafficObserver } from '../src/global/scheduler-types.js';
import type { NodeSpec } from '../src/model/fleet.js';
import type { Prediction, SloClass } from '../src/model/stage.js';
import { EVICTION_POLICY_NAMES } from '../src/node/evict.js';
import type { ServiceTimeModel } from '../src/predict/service-time.js';
import type { TraceRow } from '../traces/schema.js';
import type { TraceWorkflow } from '../traces/workflow.js';
import type { FleetSummary, StageRecord, WorkflowRecord } from './report/types.js';

/** Where stages go. `maestro` is the router in full; the others are what plain balancers do, on the same nodes. */
export const PLACEMENTS = ['maestro', 'round-robin', 'least-loaded', 'affinity'] as const;
export type Placement = (typeof PLACEMENTS)[number];

/** What KV memory is promised to a stage: the predictor's calibrated bound, the limit of the request, or what it will truly use. */
export const RESERVATIONS = ['predicted', 'max-tokens', 'oracle'] as const;
export type Reservation = (typeof RESERVATIONS)[number];

/** What stays in HBM when not all can: the live policies, and one that sees what will be asked for. */
export const WEIGHTS_POLICIES = [...EVICTION_POLICY_NAMES, 'oracle-residency'] as const;
export type WeightsPolicy = (typeof WEIGHTS_POLICIES)[number];

/** Changes to how nodes keep memory, to measure what each part is worth. */
export interface NodeVariant {
  /** What stays in HBM when not all can. */
  readonly weights?: WeightsPolicy;
  /** Are models woken before they are asked for? */
  readonly prefetch?: boolean;
  /** What is kept while workflows are in a tool call. */
  readonly retention?: RetentionRuleName;
  /** False: every KV pool is fixed, also where the fleet has kvcached. */
  readonly elasticKv?: boolean;
  /** False: the bounds of an engine's calls add up. */
  readonly pooledKv?: boolean;
  /** False: engines that begin awake have never slept, so that their first sleep is slow. */
  readonly firstSleep?: boolean;
  /** False: weights that a sleep has dropped are read from disk, also where the node has RAM set aside for copies. */
  readonly staging?: boolean;
  /** False: of the engines on a GPU one is awake at a time, and has all of it. */
  readonly coLocation?: boolean;
}

/** Limits of the global queue, and when a stage is let through whatever the policy says. */
export type QueueRules = Partial<
  Pick<
    GlobalSchedulerConfig,
    | 'maxCount'
    | 'maxCountPerTenant'
    | 'maxBytes'
    | 'batchOverdueMs'
    | 'interactiveOverdueMs'
    | 'batchTimeoutMs'
    | 'interactiveTimeoutMs'
    | 'guardShare'
  >
>;

/** A call of a trace; a replay of calls that the gateway has seen also tells what traces do not. */
export interface SimRow extends TraceRow {
  /** See {@link Stage.outputLimited}. Absent: a call with `max_tokens` is. */
  readonly outputLimited?: boolean;
  /** Absent: a call is streamed unless its class is batch. */
  readonly stream?: boolean;
}

/** What the schedulers are told of a stage before it runs. */
export type PredictionMode =
  /** As live: learned online from what has ended. */
  | { readonly kind: 'online' }
  /** As live with a trained model, which is the ONNX file at this path. */
  | { readonly kind: 'model'; readonly path: string }
  /** The running median of the role, and nothing else of a call. */
  | { readonly kind: 'role-median' }
  /** Nothing: every stage looks alike. */
  | { readonly kind: 'none' }
  /** The truth, through the same door as the oracle policies. */
  | { readonly kind: 'oracle' }
  /** The truth times exp(sigma × a standard normal), drawn once for each stage. */
  | { readonly kind: 'noise'; readonly sigma: number }
  /** What somebody was told before, by the id of the trace's row: a replay. */
  | { readonly kind: 'told'; readonly byRequest: ReadonlyMap<string, Prediction> };

/** Something that breaks, and when. Times in milliseconds of the run. */
export type SimFault =
  | { readonly kind: 'engine-crash'; readonly engineId: string; readonly atMs: number; readonly downMs: number }
  | { readonly kind: 'node-death'; readonly nodeId: string; readonly atMs: number; readonly downMs: number }
  /** The process of the global level dies with all it knew of stages and workflows; another takes over after `downMs`. */
  | { readonly kind: 'controller-restart'; readonly atMs: number; readonly downMs: number };

/** How badly the links between the global level and the clusters behave. */
export interface LinkFaults {
  /** Every message takes up to so much longer. */
  readonly jitterMs: number;
  /** Chance in [0, 1) that a message is lost on one try; it is sent again after `resendMs`, and those behind it wait. */
  readonly lossRate: number;
  readonly resendMs: number;
  /** Chance that a message arrives twice. */
  readonly duplicateRate: number;
}

/** A workflow with the moment of its arrival in this run. */
export interface Arrival {
  readonly atMs: number;
  readonly workflow: TraceWorkflow;
  readonly sloClass: string;
  /** After the arrival. */
  readonly deadlineMs: number;
  /** Duration alone on an idle, warm fleet; undefined where it is not known. */
  readonly isolatedMs?: number | undefined;
  /** For a workflow that is taken up half-way: its age, the stages it has started, and the service it has had. */
  readonly before?: { readonly ageMs: number; readonly startedStages: number; readonly attainedServiceMs: number };
}

/** Everything that decides a run. The same scenario gives the same result, to the byte. */
export interface SimScenario {
  /** In order of time; read as the run goes on, so that a long trace needs no memory. */
  readonly arrivals: Iterable<Arrival>;
  readonly nodes: readonly NodeSpec[];
  readonly classes: readonly SloClass[];
  readonly policy: OrderingPolicy;
  readonly placement: Placement;
  readonly reservation: Reservation;
  readonly prediction: PredictionMode;
  readonly serviceTimeMs?: ServiceTimeModel | undefined;
  readonly lookAhead: number;
  readonly minResidencyMs: number;
  /** As live where absent. */
  readonly node?: NodeVariant | undefined;
  /** What is absent: nothing is turned away, and the scheduler's own bounds hold. */
  readonly queue?: QueueRules | undefined;
  readonly kvOverflowTarget: number;
  /** Round trip between the global level and a cluster, milliseconds; 0 where none is given. */
  readonly rttMs: Readonly<Record<string, number>>;
  readonly seed: number;
  readonly faults: readonly SimFault[];
  /** Absent: messages arrive after half a round trip, each once. */
  readonly links?: LinkFaults | undefined;
  /** The run ends here although work is left: what has not ended is a miss. Infinity: when all has ended. */
  readonly horizonMs: number;
  /** `requests` keeps a record of every stage; `timeline` samples of every engine as well. */
  readonly detail: 'summary' | 'requests' | 'timeline';
  readonly controller?: SimController | undefined;
  /** What the scheduler knows of its queues to begin with. */
  readonly known?: KnownQueues | undefined;
}

/** What may look at a run and change its policy, as the self-tuning policy does. */
export interface SimController {
  readonly intervalMs: number;
  /** Follows the scheduler's work. */
  readonly traffic?: TrafficObserver | undefined;
  /** Called at every interval; a returned policy takes the place of the present one. */
  tick(nowMs: number, knownQueues: () => KnownQueues['byModel']): OrderingPolicy | undefined;
  /** How often it looked and changed the policy, and which serves now. */
  stats?(): { readonly evaluations: number; readonly switches: number; readonly chosen: string };
  /** A workflow has arrived, or one of its stages has ended. */
  arrived?(arrival: Arrival, nowMs: number): void;
}

export interface SimResult {
  readonly workflows: readonly WorkflowRecord[];
  readonly stages: readonly StageRecord[];
  readonly fleet: FleetSummary;
  readonly counters: SimCounters;
}

export interface SimCounters {
  readonly events: number;
  readonly stages: number;
  readonly workflows: number;
  readonly simulatedMs: number;
  /** Of completed stages, and how many of them were in a prefix cache. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Stages by outcome. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Sleeps and wakes that found no memory although the node's ledger had promised it; anything but 0 is a bug. */
  readonly failedMoves: number;
  /** The most by which a node's ledger had promised more memory than there is; anything but 0 is a bug. Looked at unless the detail is `summary`. */
  readonly overcommittedBytes: number;
  /** Leases and holds that were left when all had ended; anything but 0 is a bug. */
  readonly left: number;
}
