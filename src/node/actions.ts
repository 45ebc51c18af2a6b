import type { EngineSpec, Lease, RequeueReason, WeightFiles } from '../model/fleet.js';

/** 1: weights to pinned host RAM; 2: weights dropped, read again from disk on the wake. */
export type SleepLevel = 1 | 2;

/** What an engine's residency was found to be when it answered: awake (0) or asleep at a level. */
export type FoundLevel = 0 | SleepLevel;

/** Why a hold ended without a grant. */
export type ReleaseReason = 'engine-down' | 'engine-failed' | 'engine-leaving';

/**
 * An effect that the node manager wants. The body (live service or simulator) carries it out and reports with an
 * {@link EngineEvent}; grants and releases concern only the caller of `reserve`.
 */
export type NodeAction =
  /** A held stage may start now. */
  | { readonly kind: 'grant'; readonly lease: Lease }
  /** A held stage will not start here. */
  | {
      readonly kind: 'release-hold';
      readonly stageId: string;
      readonly engineId: string;
      readonly reason: ReleaseReason;
    }
  /**
   * Put the engine to sleep. No lease is on it. Mode `wait` lets whatever still runs inside finish; answered by `slept` or `sleep-failed`.
   */
  | { readonly kind: 'sleep'; readonly engineId: string; readonly level: SleepLevel; readonly mode: 'wait' }
  /**
   * Wake the engine: level 1 by one call, level 2 by the recipe (wake weights, reload_weights `from` the copy in RAM or from disk, wake kv_cache,
   * reset_prefix_cache). Room is confirmed. Answered by `woke` or `wake-failed`.
   */
  | { readonly kind: 'wake'; readonly engineId: string; readonly level: SleepLevel; readonly from: WeightFiles }
  /**
   * Move the KV limit of an elastic engine to `bytes` on each of its GPUs. A lower one is answered by `kv-limited` when the engine holds no more than that;
   * a higher one needs no answer.
   */
  | { readonly kind: 'kv-limit'; readonly engineId: string; readonly bytes: number }
  /**
   * Stop a stage that has not reached its client yet, and queue it again: the caller of `reserve` releases its lease if it can. It need not: then the
   * engine is waited for. Only a batch stage makes room.
   */
  | { readonly kind: 'requeue'; readonly stageId: string; readonly engineId: string; readonly reason: RequeueReason }
  /** Copy a checkpoint into RAM, `bytes` as far as is known. Answered by `staged` or `stage-failed`. */
  | { readonly kind: 'stage'; readonly folder: string; readonly bytes: number }
  /** Delete the copy of a checkpoint in RAM; nobody reads it. Answered by `unstaged`. */
  | { readonly kind: 'unstage'; readonly folder: string }
  /** Check the engine's answers after a level-2 wake; answered by `canary-passed` or `canary-failed`. */
  | { readonly kind: 'canary'; readonly engineId: string };

/** What an engine told about itself when it came up; absent fields stay as configured. */
export type EngineLimits = Partial<
  Pick<
    EngineSpec,
    | 'adapters'
    | 'emulated'
    | 'kvPoolTokens'
    | 'kvBytesPerToken'
    | 'maxNumSeqs'
    | 'maxModelLen'
    | 'otherNames'
    | 'sleepCapable'
    | 'reloadsWeights'
    | 'llm'
    | 'chosenRanks'
  >
>;

/** Why an engine is taken out: `refused` means that the process is gone, so its memory is free; the others leave that open. */
export type DownReason = 'refused' | 'unresponsive' | 'unhealthy' | 'stalled' | 'failing';

/** What the body reports about copies of checkpoints in RAM. */
export type StagingEvent =
  /** The copy is whole, and takes so much; also told of one that was found. */
  | { readonly kind: 'staged'; readonly folder: string; readonly bytes: number }
  /** Nothing was copied; `bytes`: what it would take, where that is known. */
  | { readonly kind: 'stage-failed'; readonly folder: string; readonly bytes?: number }
  | { readonly kind: 'unstaged'; readonly folder: string };

/** What the body reports about an engine (or, for telemetry, about the node and its host). */
export type EngineEvent =
  | StagingEvent
  | {
      readonly kind: 'engine-up';
      readonly engineId: string;
      readonly level: FoundLevel;
      readonly limits?: EngineLimits;
      /** Its host copy is pinned already, because it has slept at level 1 before. */
      readonly slept?: boolean;
    }
  | { readonly kind: 'engine-down'; readonly engineId: string; readonly reason: DownReason }
  | { readonly kind: 'slept'; readonly engineId: string }
  | { readonly kind: 'sleep-failed'; readonly engineId: string }
  /** Adapters were loaded into the server, or unloaded; these are all of them now. */
  | { readonly kind: 'adapters'; readonly engineId: string; readonly adapters: readonly string[] }
  | { readonly kind: 'woke'; readonly engineId: string }
  | { readonly kind: 'wake-failed'; readonly engineId: string }
  | { readonly kind: 'canary-passed'; readonly engineId: string }
  | { readonly kind: 'canary-failed'; readonly engineId: string }
  /** The engine holds no more than `bytes` of KV memory on each GPU, and its limit keeps it there. */
  | { readonly kind: 'kv-limited'; readonly engineId: string; readonly bytes: number }
  /** Its limit cannot be moved: the pool counts as fixed until the process starts anew. */
  | { readonly kind: 'kv-limit-failed'; readonly engineId: string }
  /** HBM in use per GPU of the node by the driver's account, all processes together. */
  | { readonly kind: 'telemetry'; readonly gpuUsedBytes: readonly number[] }
  /** RAM of the node's host that sleeping weights could still get, whoever has the rest. */
  | { readonly kind: 'host-memory'; readonly bytes: number }
  /** GPUs of the node that have failed for good: engines on them take nothing new, until the list no longer names them. */
  | { readonly kind: 'failed-gpus'; readonly gpus: readonly number[] }
  | ({ readonly kind: 'counters'; readonly engineId: string } & EngineCounters);

/** Gauges and counters of one engine, range-checked by the reader. */
export interface EngineCounters {
  readonly running: number;
  readonly waiting: number;
  /** Since the start of the process. */
  readonly preemptionsTotal: number;
  /** Share of the KV pool in use, 0 to 1. */
  readonly kvUsage: number;
  /** Tokens written since the start of the process; undefined where it does not say. */
  readonly generatedTokens?: number | undefined;
  /** The same of each data-parallel rank, where it has several and tells of each. */
  readonly ranks?: readonly RankCounters[] | undefined;
}

export type RankCounters = Pick<EngineCounters, 'running' | 'kvUsage' | 'generatedTokens'>;

/** How the moves of an engine are answered, when they are done and when they have failed. */
export const MOVE_EVENTS = {
  sleep: { done: 'slept', failed: 'sleep-failed' },
  wake: { done: 'woke', failed: 'wake-failed' },
  canary: { done: 'canary-passed', failed: 'canary-failed' },
} as const;

/** Fields of a move's log line. Files play no part in a wake from level 1, whose weights are in host memory. */
export function loggedMove(action: NodeAction): object {
  if (action.kind !== 'wake' || action.level !== 1) return action;
  const { from: _, ...rest } = action;
  return rest;
}
