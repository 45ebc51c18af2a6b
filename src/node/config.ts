import { type EvictionPolicy, lruEviction } from './evict.js';
import type { RetryConfig } from './residency.js';

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
  eviction: lruEviction,
};
