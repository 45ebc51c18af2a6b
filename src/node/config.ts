import { EVICTION_POLICIES, type EvictionPolicy } from './evict.js';
import type { PooledBoundState } from './pooled-bound.js';
import type { RetryConfig } from './residency.js';

/** Demand for a model that has not reached the node. */
export interface ModelDemand {
  /** Stages that wait in the global queue. */
  readonly queued: number;
  /** Stages that the workflows now running are expected to bring soon; a fraction of one is a chance. */
  readonly expected: number;
}

const NO_DEMAND: ModelDemand = { queued: 0, expected: 0 };

export interface NodeConfig {
  /** Leases beyond an engine's seats: they wait inside vLLM, just long enough to hide the round trip. */
  readonly lookAhead: number;
  /** Holds per engine; more are refused as `queue-full`. */
  readonly maxHoldsPerEngine: number;
  /** A busy engine is not emptied before it has been awake this long, or twice its own sleep and wake if that is longer. */
  readonly minResidencyMs: number;
  /** A hold that has waited this long may empty a busy engine whatever its place in the order. */
  readonly maxHoldWaitMs: number;
  /** May level-2 sleep be used where host RAM for level 1 is short? It needs a loader with reload_weights. */
  readonly deepSleep: boolean;
  /** Must the driver's account of HBM confirm room before a wake? Only where telemetry events come. */
  readonly telemetry: boolean;
  /** A telemetry sample older than this confirms nothing; with none for twice as long the source is lost and the ledger decides alone. */
  readonly telemetryMaxAgeMs: number;
  readonly retry: RetryConfig;
  readonly seatStepMs: number;
  readonly seatDecrease: number;
  readonly eviction: EvictionPolicy;
  /** Wake a model that is expected soon into room that nobody uses. */
  readonly prefetch: boolean;
  /** Stages that must be expected for that; a fraction of one is a chance. */
  readonly prefetchLeastUses: number;
  /**
   * Put engines to sleep once after their start, before their first stage, so that later sleeps are fast; and one that has not slept so drops its weights where a stage waits for its room and
   * that is quicker. Off here because it makes every node with more models than fit move by itself.
   */
  readonly firstSleep: boolean;
  /** While an interactive stage waits for room that no rung can make yet, busy engines take no new batch stages that come after it in the order. */
  readonly pauseBatch: boolean;
  /** Stop batch stages that can be started again, where that costs less than to wait for them. */
  readonly requeueBatch: boolean;
  /** Hold KV memory for the calls of an engine together, by what they are expected to need; otherwise the bounds of all calls add up. */
  readonly pooledKv: boolean;
  /** What the node had learned of that before a restart. */
  readonly kvState?: PooledBoundState | undefined;
  /** What the levels above know of the demand for a model. It may be asked at every plan. */
  readonly demand: (model: string) => ModelDemand;
  /** Order key of the stage that would leave the global queue of a model first; Infinity where none waits. Asked for each model that claims room, at every plan. */
  readonly firstWaitingKey: (model: string) => number;
}

export const DEFAULT_NODE_CONFIG: NodeConfig = {
  lookAhead: 4,
  maxHoldsPerEngine: 256,
  minResidencyMs: 30_000,
  maxHoldWaitMs: 30_000,
  deepSleep: true,
  telemetry: false,
  telemetryMaxAgeMs: 5_000,
  retry: { baseMs: 500, maxMs: 30_000, maxFailures: 5 },
  seatStepMs: 5_000,
  seatDecrease: 0.8,
  eviction: EVICTION_POLICIES.lru,
  prefetch: true,
  prefetchLeastUses: 0.3,
  firstSleep: false,
  pauseBatch: true,
  requeueBatch: true,
  pooledKv: true,
  demand: () => NO_DEMAND,
  firstWaitingKey: () => Number.POSITIVE_INFINITY,
};
