import type { Demand, Lease } from '../model/fleet.js';
import type { EngineCounters } from './actions.js';
import { type HeldLease, KvReservations, type KvUseTotals } from './kv-reservations.js';
import type { PooledBound } from './pooled-bound.js';

/** What is promised on an engine: on each of its data-parallel ranks, where we choose between several, and of all together. */
export class EngineReservations {
  readonly ranks: readonly KvReservations[];

  /** @param ranks How many are told apart; 1: all of the engine is one. */
  constructor(ranks: number, bytesPerToken: number | undefined, totals: KvUseTotals, pooled: PooledBound | undefined) {
    this.ranks = Array.from({ length: ranks }, () => new KvReservations(bytesPerToken, totals, pooled));
  }

  /** The rank that a demand for `rank` is for: one that there is, or else the one with the fewest sequences. */
  rankFor(rank: number | undefined): number {
    const { ranks } = this;
    if (ranks.length === 1) return 0;
    if (rank !== undefined && rank < ranks.length) return rank;
    let least = 0;
    for (let index = 1; index < ranks.length; index++) if (ranks[index]!.seats < ranks[least]!.seats) least = index;
    return least;
  }

  add(demand: Demand, lease: Lease): HeldLease {
    return this.ranks[lease.rank ?? 0]!.add(demand, lease);
  }

  /** Takes a reading of the engine, whose pool has so many tokens. One that does not tell of each rank has every rank as full as the fullest. */
  read(counters: EngineCounters, poolTokens: number, nowMs: number): void {
    const { ranks } = this;
    const count = ranks.length;
    const told = counters.ranks?.length === count ? counters.ranks : undefined;
    const share = told ? 1 : count;
    for (const [rank, reservations] of ranks.entries()) {
      const { running, kvUsage, generatedTokens } = told?.[rank] ?? counters;
      const reading = {
        inUseTokens: Math.ceil((kvUsage * poolTokens) / count),
        running: running / share,
        generatedTokens: generatedTokens === undefined ? undefined : generatedTokens / share,
      };
      reservations.read(reading, nowMs);
    }
  }

  restarted(): void {
    for (const rank of this.ranks) rank.restarted();
  }

  set bytesPerToken(bytes: number | undefined) {
    for (const rank of this.ranks) rank.bytesPerToken = bytes;
  }

  get leases(): number {
    let sum = 0;
    for (const { leases } of this.ranks) sum += leases;
    return sum;
  }

  get seats(): number {
    let sum = 0;
    for (const { seats } of this.ranks) sum += seats;
    return sum;
  }

  get reservedTokens(): number {
    let sum = 0;
    for (const { reservedTokens } of this.ranks) sum += reservedTokens;
    return sum;
  }

  get pendingPrefillTokens(): number {
    let sum = 0;
    for (const { pendingPrefillTokens } of this.ranks) sum += pendingPrefillTokens;
    return sum;
  }
}
