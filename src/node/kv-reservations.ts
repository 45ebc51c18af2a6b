import type { Demand, Lease, LeaseUse } from '../model/fleet.js';

/** KV memory over time, in byte-milliseconds over all GPUs of the engines (token-milliseconds where nothing is known), of ended leases. */
export interface KvUseTotals {
  /** Promised by the calibrated bound. */
  reservedByteMs: number;
  /** What promises by the requests' own limits would have taken. */
  maxTokenByteMs: number;
  /** Truly used: the prompt from the start, the output growing evenly. */
  usedByteMs: number;
  ended: number;
  /** Ended leases that used more than was promised. */
  overflows: number;
}

export function emptyKvTotals(): KvUseTotals {
  return { reservedByteMs: 0, maxTokenByteMs: 0, usedByteMs: 0, ended: 0, overflows: 0 };
}

/** A lease with what its end needs to know. */
export interface HeldLease {
  readonly lease: Lease;
  readonly promptTokens: number;
  readonly maxKvTokens: number;
  /** Batch work that may be stopped and started again. */
  readonly restartable: boolean;
  awaitsFirstToken: boolean;
}

/** The leases of one engine in sums: seats taken, KV tokens promised, prompts not yet prefilled. A promise is an entry here, not memory in vLLM. */
export class KvReservations {
  leases = 0;
  reservedTokens = 0;
  pendingPrefillTokens = 0;

  /** `bytesPerToken` over all GPUs, for the totals. */
  constructor(
    private readonly bytesPerToken: number,
    private readonly totals: KvUseTotals,
  ) {}

  add(demand: Demand, lease: Lease): HeldLease {
    this.leases += 1;
    this.reservedTokens += lease.kvTokens;
    this.pendingPrefillTokens += demand.promptTokens;
    return {
      lease,
      promptTokens: demand.promptTokens,
      maxKvTokens: Math.max(demand.maxKvTokens ?? 0, demand.kvTokens),
      restartable: !demand.interactive && demand.restartable === true,
      awaitsFirstToken: true,
    };
  }

  firstToken(held: HeldLease): void {
    if (!held.awaitsFirstToken) return;
    held.awaitsFirstToken = false;
    this.pendingPrefillTokens -= held.promptTokens;
  }

  end(held: HeldLease, use: LeaseUse, nowMs: number): void {
    this.firstToken(held);
    this.leases -= 1;
    this.reservedTokens -= held.lease.kvTokens;
    const { totals, bytesPerToken } = this;
    const byteMs = Math.max(0, nowMs - held.lease.grantedAtMs) * bytesPerToken;
    const promptTokens = use.promptTokens ?? held.promptTokens;
    const outputTokens = use.outputTokens ?? 0;
    totals.ended += 1;
    totals.reservedByteMs += held.lease.kvTokens * byteMs;
    totals.maxTokenByteMs += held.maxKvTokens * byteMs;
    totals.usedByteMs += (promptTokens + outputTokens / 2) * byteMs;
    if (promptTokens + outputTokens > held.lease.kvTokens) totals.overflows += 1;
  }
}
