import type { KvUseTotals } from './kv-reservations.js';

/** Totals since the start. */
export interface NodeStats {
  readonly leases: number;
  readonly holds: number;
  readonly kv: Readonly<KvUseTotals>;
  /** Stages that waited for weights, and how long they did in sum. */
  readonly coldStarts: { readonly count: number; readonly requestMs: number };
  readonly preemptions: number;
  /** Host RAM that copies of checkpoints take, those included that are being made or deleted. */
  readonly stagedBytes: number;
  readonly moves: { readonly sleeps: number; readonly wakes: number; readonly failures: number };
}

/** An engine's own gauges beside our books; undefined until it has been read. */
export interface EngineGauges {
  /** Leases that we have given out, holds not counted. */
  readonly leases: number;
  readonly running: number | undefined;
  readonly waiting: number | undefined;
  /** Share of the KV pool in use, 0 to 1. */
  readonly kvUsage: number;
  /** KV tokens that are held for the leases. */
  readonly heldKvTokens: number;
}
