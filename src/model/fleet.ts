import type { GpuSpec } from './gpu.js';
import type { Dtype, LlmSpec } from './llm.js';
import type { OutputForecast, PoolShare } from './stage.js';

/**
 * Where a model's weights are on a node:
 * - `running`: in HBM, the engine serves;
 * - `sleeping`: level-1 sleep, weights in pinned host RAM, the process alive;
 * - `host`: level-2 sleep, process alive, weights staged in host RAM files;
 * - `disk`: level-2 sleep or no process, weights on local disk;
 * - `remote`: not on this node.
 */
export type Residency = 'running' | 'sleeping' | 'host' | 'disk' | 'remote';

/** The tier of the weights of an engine that are on its node. `remote` is known to whoever fetches them. */
export function residencyOf({ state, weightFiles = 'disk' }: Pick<EngineView, 'state' | 'weightFiles'>): Residency {
  if (state === 'sleeping') return 'sleeping';
  return state === 'sleeping-deep' || state === 'down' || state === 'failed' ? weightFiles : 'running';
}

/**
 * State of one engine process:
 * - `down`: does not answer; - `running`: awake and serving; - `draining`: awake, takes no new work, sleeps when idle;
 * - `falling-asleep` / `waking`: a transition is under way; - `sleeping`: level 1; - `sleeping-deep`: level 2;
 * - `failed`: taken out of service (canary failed, memory leak, wake failed for good) until it restarts;
 * - `leaving`: no part of the fleet any more; what runs on it ends there, and then it is forgotten.
 */
export type EngineState =
  | 'down'
  | 'running'
  | 'draining'
  | 'falling-asleep'
  | 'sleeping'
  | 'sleeping-deep'
  | 'waking'
  | 'failed'
  | 'leaving';

/**
 * Why an engine takes nothing new until it is empty:
 * - `for-good`: it is no part of the fleet any more, and its process somebody else's; - `to-end`: nor is it, and its process is ended;
 * - `to-return`: it is to come back with another specification.
 */
export type Leaving = 'for-good' | 'to-end' | 'to-return';

/** Does the process hold no weights in HBM, and is it not on its way there? */
export function isAsleep(state: EngineState | undefined): boolean {
  return state === 'sleeping' || state === 'sleeping-deep';
}

/** Where weights that a level-2 sleep has dropped are read again from: files in RAM, or those on disk. */
export type WeightFiles = 'host' | 'disk';

/**
 * One vLLM server, as configured or discovered. Bytes are per GPU. Seats, KV tokens and limits are those of all its data-parallel ranks together; each rank has an
 * equal part of them.
 */
export interface EngineSpec {
  readonly engineId: string;
  readonly nodeId: string;
  /** Served model name. */
  readonly model: string;
  /** LoRA adapters on top of the model, by the names under which the server serves them. Default none. */
  readonly adapters?: readonly string[];
  /** Other names under which the server serves the model itself. */
  readonly otherNames?: readonly string[];
  /** Base URL, without a path. */
  readonly url: string;
  /** Indices of its GPUs on the node; their number is the TP degree times the ranks. Empty when unknown. */
  readonly gpuIndices: readonly number[];
  /** Data-parallel ranks, each with seats and a KV pool of its own, in which a request lives. Default 1. */
  readonly dataParallel?: number;
  /** The same number where each call is sent to a rank of our choice. Absent, or 1: vLLM chooses, and the engine counts as one. */
  readonly chosenRanks?: number;
  /** Undefined when nothing is known of the model or GPU: seats are then learned and KV is counted in tokens. */
  readonly llm?: LlmSpec;
  readonly gpu?: GpuSpec;
  /** Number formats of weights and KV cache; bf16 where nothing says otherwise. */
  readonly weightDtype?: Dtype;
  readonly kvDtype?: 'bf16' | 'fp8';
  readonly weightBytes: number;
  readonly kvPoolBytes: number;
  /** KV bytes a token and GPU, those of one rank spread over the GPUs of all; 1 when unknown, so that bytes are tokens. */
  readonly kvBytesPerToken: number;
  /** Capacity of the KV pool in tokens; Infinity until it is known. */
  readonly kvPoolTokens: number;
  /** HBM that stays taken while the engine sleeps (context, graphs, NCCL). */
  readonly residueBytes: number;
  /** HBM that it takes while it is not asleep, beside weights, KV pool and residue: activations, sampling. Default 0. */
  readonly workspaceBytes?: number;
  readonly maxNumSeqs: number;
  readonly maxModelLen: number;
  /** Largest batch that still meets the TPOT targets of the classes on it; Infinity when unknown. */
  readonly seats: number;
  /** The strictest of those targets, milliseconds; absent where no class has one. */
  readonly tpotMs?: number;
  readonly sleepCapable: boolean;
  /** Can weights be read again in place (vLLM `reload_weights`)? If not, a sleep that drops them is for ever. Default: yes. */
  readonly reloadsWeights?: boolean;
  /** What work costs on it in milliseconds, as it was measured; else the step-time model tells. */
  readonly measuredCosts?: {
    readonly prefillMsPerToken: number;
    readonly stepMs: number;
    readonly stepMsPerSequence: number;
    readonly stepMsPerContextToken: number;
  };
  /**
   * Set where the KV pool follows a limit that can be moved while the engine runs (kvcached): the limit is between this and `kvPoolBytes`. Absent: the pool is
   * fixed from the start of the process, as in stock vLLM.
   */
  readonly kvLeastBytes?: number;
  /** Name of the shared-memory segment through which that limit is moved. */
  readonly kvSegment?: string;
  /** The server has no weights: what it pins asleep takes no RAM of its host. */
  readonly emulated?: boolean;
  /** Once awake it is never put to sleep for another's sake. */
  readonly pinned?: boolean;
  /** Folder of its checkpoint on this node. Engines of the same folder share one copy of it in RAM. Absent: it is not staged. */
  readonly weightsFolder?: string;
}

/** Part of a node's host RAM that holds copies of checkpoints, for engines whose sleep has dropped the weights. */
export interface StagingSpec {
  /** Where the copies lie: a folder of a RAM disk. */
  readonly folder: string;
  /** What all copies together may take; taken from the node's host memory, so pinned copies have the rest. */
  readonly memoryBytes: number;
}

export interface NodeSpec {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly gpus: readonly GpuSpec[];
  readonly hostMemoryBytes: number;
  readonly staging?: StagingSpec;
  readonly engines: readonly EngineSpec[];
}

/** What a router knows of an engine. Versioned full state: a newer version replaces an older one. */
export interface EngineView {
  readonly spec: EngineSpec;
  readonly state: EngineState;
  /** Where a level-2 wake would read the weights from. Absent: disk. */
  readonly weightFiles?: WeightFiles;
  /** Counts the views that this manager of the node has given of the engine. Another manager counts anew: the router forgets the engine before it hears of it. */
  readonly version: number;
  readonly observedAtMs: number;
  /** Seats that new work may use now: the smaller of the spec's and what the engine's counters have taught. */
  readonly seats: number;
  /** Seats that leases take, running or held back for a wake: one for each answer that a stage asks for. */
  readonly leases: number;
  /** Promised to leases, or in use at the last reading where that is more. */
  readonly reservedKvTokens: number;
  /** Contexts of workflows in a tool call that are kept for their return; taken for everybody else. Absent: nothing is kept. */
  readonly keptKvTokens?: number;
  readonly kvPoolTokens: number;
  /** Until the engine could take a new stage: 0 when running, else drain + sleep of victims + wake. */
  readonly readyInMs: number;
  /** Delay that making room would cause to others, milliseconds. */
  readonly disturbanceMs: number;
  /** Engines that would have to sleep for it; empty where lent memory is enough. Absent: not told. */
  readonly victims?: readonly string[] | undefined;
  /** Prompt tokens of leased stages that have not produced a first token yet. */
  readonly pendingPrefillTokens: number;
  /** Measured recently: preemptions a minute and requests waiting inside the engine. */
  readonly engineWaiting: number;
  readonly enginePreemptions: number;
  /** How fast it writes, as its counters have shown lately. Absent: not seen. */
  readonly pace?: StepReading | undefined;
  /** What of it is on each rank, where we choose between several; seats and pool are divided evenly. */
  readonly ranks?: readonly RankView[];
}

/** One data-parallel rank of an engine; fields as in {@link EngineView}. */
export type RankView = Pick<EngineView, 'leases' | 'reservedKvTokens' | 'pendingPrefillTokens'> & {
  readonly keptKvTokens: number;
};

/** A reading of an engine's counters: a token for each of its sequences took so long. */
export interface StepReading {
  readonly stepMs: number;
  readonly sequences: number;
  /** KV memory in use. */
  readonly contextTokens: number;
}

/** A place in the global order, lower is earlier. */
export interface OrderPlace {
  readonly orderKey: number;
  /** What time alone makes of it, and when (clock milliseconds), such as where the workflow turns late. Absent: nothing. */
  readonly keyChange?: { readonly atMs: number; readonly orderKey: number } | undefined;
}

/** What a stage asks of a node. Its place in the order is used where the node must choose between holds. */
export interface Demand extends OrderPlace {
  readonly stageId: string;
  /** What the engine keeps for this session is room for its stage. */
  readonly session?: string;
  readonly engineId: string;
  /** Data-parallel rank on which it is to run. Absent: any. */
  readonly rank?: number | undefined;
  readonly sloClass: string;
  readonly interactive: boolean;
  readonly promptTokens: number;
  /** Answers that the engine writes at once for it, each in a seat of its own. Absent: one. */
  readonly sequences?: number | undefined;
  /** KV tokens to promise: the calibrated bound. */
  readonly kvTokens: number;
  /** Lets the node hold less for its calls together than the sum of their bounds; absent: the bound is held. */
  readonly forecast?: OutputForecast | undefined;
  /** What its tokens take of the pool where that is not one each. */
  readonly share?: PoolShare | undefined;
  /** KV tokens that a promise by the request's own limit would take, and so the most that is held for it. Absent: the bound. */
  readonly maxKvTokens?: number | undefined;
  /** Nothing of the answer reaches the client before its end, so the stage may be stopped and started again. */
  readonly restartable?: boolean;
  readonly epoch: number;
}

/** What an engine is asked to keep in its prefix cache: the context of an agent in a tool call. Clock milliseconds. */
export interface KeptContext {
  readonly session: string;
  readonly tokens: number;
  readonly untilMs: number;
  /** The rank that has it, where the engine has several to choose from. */
  readonly rank?: number | undefined;
}

/** A promise of a seat and KV memory on an engine. */
export interface Lease {
  readonly leaseId: string;
  readonly stageId: string;
  readonly engineId: string;
  readonly nodeId: string;
  /** The data-parallel rank that the call must be sent to. Absent: vLLM chooses. */
  readonly rank?: number | undefined;
  readonly kvTokens: number;
  readonly epoch: number;
  readonly grantedAtMs: number;
  /** How long the stage was held for a wake or load before this grant. */
  readonly coldStartMs: number;
}

export type HoldReason = 'waking' | 'draining' | 'falling-asleep' | 'no-room' | 'kv-full' | 'seats-full';
/** Why a stage leaves the engine that it has started on: for others that are earlier in the order, or because the engine hangs. */
export type RequeueReason = 'makes-room' | 'hung';

export type RefuseReason =
  | 'unknown-engine'
  | 'engine-down'
  | 'engine-failed'
  | 'engine-leaving'
  | 'too-large'
  | 'queue-full'
  | 'stale-epoch';

export type ReserveResult =
  | { readonly kind: 'grant'; readonly lease: Lease }
  /** Kept by the node; a `grant` or `release-hold` action follows, or the caller cancels. */
  | { readonly kind: 'hold'; readonly engineId: string; readonly etaMs: number; readonly reason: HoldReason }
  | { readonly kind: 'refuse'; readonly engineId: string; readonly reason: RefuseReason };

/** What a stage truly used, when its lease ends. */
export interface LeaseUse {
  readonly promptTokens?: number | undefined;
  /** Of the prompt, whose KV was there; undefined where the engine does not say. */
  readonly cachedTokens?: number | undefined;
  readonly outputTokens?: number | undefined;
  /** The answer ran to its end, so that its length teaches how long such answers are. */
  readonly completed?: boolean;
}

/** What a cluster can start now, model by model; input of the global level's late binding. */
export interface ModelCapacity {
  readonly model: string;
  /** How many more stages the cluster would take now (running engines' free seats and look-ahead, holds of a waking one). */
  readonly starts: number;
  /** Largest KV demand that some engine could take at once. */
  readonly maxKvTokens: number;
  /** Shortest time until an engine of the model could start a stage. */
  readonly readyInMs: number;
  /**
   * Stages that engines asleep beside running ones would take in addition, and how long until the soonest of them is ready, the
   * disturbance of what must make room included. Worth it only while the queue would take longer to drain.
   */
  readonly coldStarts?: number;
  readonly coldReadyInMs?: number;
}

/** What a cluster can start now of the models for which that has changed. */
export interface CapacityChanges {
  readonly clusterId: string;
  readonly models: readonly ModelCapacity[];
}

/** The router's answer for one stage. */
export type PlaceResult =
  | {
      readonly kind: 'place';
      readonly engineId: string;
      readonly nodeId: string;
      /** Which of its data-parallel ranks, where we choose. */
      readonly rank?: number | undefined;
      /** KV tokens to promise there: the stage's bound, but never more than the whole pool, of the rank where there are several. */
      readonly kvTokens: number;
      readonly explanation: PlaceExplanation;
    }
  /** Worth waiting for a particular engine (warm prefix, wake under way) rather than starting elsewhere now. */
  | {
      readonly kind: 'hold';
      readonly engineId: string;
      readonly nodeId: string;
      readonly rank?: number | undefined;
      readonly kvTokens: number;
      readonly waitMs: number;
      readonly explanation: PlaceExplanation;
    }
  /** Nothing here can take it. */
  | { readonly kind: 'bounce'; readonly reason: string; readonly explanation: PlaceExplanation };

export interface CandidateScore {
  readonly engineId: string;
  readonly nodeId: string;
  readonly rank?: number | undefined;
  /** Sum of the terms, milliseconds of expected delay. */
  readonly totalMs: number;
  /** Term by scorer name, milliseconds. */
  readonly terms: Readonly<Record<string, number>>;
}

/** Why a stage went where it went: the best eight candidates with every term, and how many each filter refused. */
export interface PlaceExplanation {
  readonly candidates: readonly CandidateScore[];
  readonly refusals: Readonly<Record<string, number>>;
}
