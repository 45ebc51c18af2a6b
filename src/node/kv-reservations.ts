import type { Demand, Lease, LeaseUse } from '../model/fleet.js';
import { KvInUse, type KvReading } from './kv-in-use.js';
import type { Moments, PooledBound } from './pooled-bound.js';
import { RunningOutputs } from './running-outputs.js';

/** KV memory over time, in byte-milliseconds over all GPUs of the engines. What is used is known when a lease ends; the others count while it runs. */
export interface KvUseTotals {
  /**
   * Held for the leases: their bounds, or what is held for all of an engine's leases together where that is less. What its gauge adds beyond the requests' own limits is not theirs: a reading
   * that is late, what answers would write until the next one if they went on, or the calls of others. It is kept free all the same: to hold no more than the limits cost 2.4 and 1.8 points of
   * the workflows in time (`one-gpu`, load 1.2, both rules of deadlines, one seed).
   */
  reservedByteMs: number;
  /** What promises by the requests' own limits would have taken. */
  maxTokenByteMs: number;
  /** Truly used: the prompt from the start, the output growing evenly. */
  usedByteMs: number;
  /** The same three in token-milliseconds, of the engines of which it is not known how many bytes a token takes. */
  readonly unsized: { reservedTokenMs: number; maxTokenMs: number; usedTokenMs: number };
  ended: number;
  /** Ended leases that used more than their own bound. */
  overflows: number;
}

export function emptyKvTotals(): KvUseTotals {
  const unsized = { reservedTokenMs: 0, maxTokenMs: 0, usedTokenMs: 0 };
  return { reservedByteMs: 0, maxTokenByteMs: 0, usedByteMs: 0, unsized, ended: 0, overflows: 0 };
}

/** A lease with what its end needs to know. */
export interface HeldLease {
  readonly lease: Lease;
  /** Where it is counted. */
  readonly account: KvReservations;
  readonly demand: Demand;
  readonly promptTokens: number;
  readonly maxKvTokens: number;
  /** Batch work that may be stopped and started again. */
  readonly restartable: boolean;
  /** Share of the pooled bound; undefined where its own bound is held. */
  readonly moments: Moments | undefined;
  awaitsFirstToken: boolean;
  /** Readings of the engine before it was let in. */
  readonly readings: number;
  /** Place in the list of its engine's leases, where adding and removing at a high rate leaves nothing behind, as it would in a set. */
  slot: number;
}

/** Up to so many leases the sum of their bounds is as good as the pooled bound, whose margin is meant for many. Measured on the recorded traces. */
const FEW_LEASES = 8;

/** A call that has run for so long has its prompt in memory: where an answer is not streamed, its first token is not seen. */
const PREFILL_MS = 5_000;

/** The leases of one engine, or of one of its data-parallel ranks, in sums: seats taken, KV tokens held, prompts not yet prefilled. What is held is an entry here, not memory in vLLM. */
export class KvReservations {
  leases = 0;
  /** Sequences that all leases have running at once, by which engines count. */
  seats = 0;
  pendingPrefillTokens = 0;
  /** Of all leases: their bounds, and the part of them that is certain: prompts, and whole bounds where nothing is forecast. */
  private boundTokens = 0;
  private certainTokens = 0;
  /** Sums of the moments, as two numbers: an object for them would be made anew at every change. */
  private meanTokens = 0;
  private variance = 0;
  /** What the requests' own limits would take. */
  private maxTokens = 0;
  /** Since when {@link reservedTokens} has been what it is. */
  private sinceMs = 0;
  /** What the engine is about to have in use, by its own gauge: where calls outgrow what is held for them, this much is held. */
  private readonly inUse = new KvInUse();
  private readonly written = new RunningOutputs();
  private readonly held: HeldLease[] = [];

  /** `bytesPerToken` over all GPUs, for the totals; undefined until it is known. Without `pooled` the bounds add up. */
  constructor(
    public bytesPerToken: number | undefined,
    private readonly totals: KvUseTotals,
    private readonly pooled: PooledBound | undefined,
  ) {}

  /** KV tokens held for all leases together: of few never less than the engine is about to have in use for them. Among many, one that has outgrown its bound does not matter, only what all have written. */
  get reservedTokens(): number {
    if (this.leases === 0 || this.leases > FEW_LEASES) return this.shownTokens;
    return Math.max(this.inUse.tokens, this.promisedTokens);
  }

  /**
   * What routers are told: what is promised, or was in use at the last reading, or what many calls are about to have in use. So they see the room of calls that have ended once the engine shows it; to
   * show it at once cost workflows in time where contexts are long. What is held ahead for few calls that outgrow their bounds is left out: a stage that comes back to its context and lacks only that
   * room waits for it here.
   */
  get shownTokens(): number {
    if (this.leases === 0) return 0;
    return Math.max(this.inUse.seenTokens, this.promisedTokens, this.underWayTokens(this.leases));
  }

  /** KV tokens that would be held with one more lease. */
  reservedWith(demand: Demand): number {
    const moments = this.momentsOf(demand);
    const certainTokens = moments ? promptShare(demand) : demand.kvTokens;
    const promisedTokens = this.promiseFor(
      this.leases + 1,
      this.boundTokens + demand.kvTokens,
      this.certainTokens + certainTokens,
      moments ? this.meanTokens + moments.mean : this.meanTokens,
      moments ? Math.max(0, this.variance + moments.variance) : this.variance,
      this.maxTokens + mostTokens(demand),
    );
    // Where nothing of ours is, what others have in use keeps nobody out for ever.
    if (this.leases === 0) return promisedTokens;
    const { tokens, seenTokens } = this.inUse;
    if (this.leases < FEW_LEASES) return Math.max(tokens + demand.kvTokens, promisedTokens);
    return Math.max(seenTokens, promisedTokens, this.underWayTokens(this.leases + 1) + certainTokens);
  }

  /** Takes a reading of the engine: where calls have outgrown what is held for them, what they are about to have in use is held. */
  read(reading: KvReading, nowMs: number): void {
    this.account(nowMs);
    if (this.leases > FEW_LEASES) this.pooled?.observeNode(reading.inUseTokens > this.promisedTokens);
    const pendingTokens = this.pending(({ kvTokens }) => kvTokens, nowMs);
    this.inUse.read(reading, pendingTokens, nowMs);
    const leastTokens = reading.inUseTokens - this.certainTokens;
    this.written.read(this.inUse.writtenTokens, leastTokens, this.pending(promptShare, nowMs));
  }

  /** Sum over the calls whose prompts may not be in memory yet. */
  private pending(tokensOf: (demand: Demand) => number, nowMs: number): number {
    let tokens = 0;
    for (const { awaitsFirstToken, lease, demand } of this.held) {
      if (awaitsFirstToken && nowMs - lease.grantedAtMs < PREFILL_MS) tokens += tokensOf(demand);
    }
    return tokens;
  }

  add(demand: Demand, lease: Lease): HeldLease {
    this.account(lease.grantedAtMs);
    const moments = this.momentsOf(demand);
    const held: HeldLease = {
      lease,
      account: this,
      demand,
      moments,
      promptTokens: demand.promptTokens,
      maxKvTokens: mostTokens(demand),
      restartable: !demand.interactive && demand.restartable === true,
      awaitsFirstToken: true,
      readings: this.inUse.readings,
      slot: this.held.length,
    };
    this.count(held, 1);
    this.inUse.granted(demand.kvTokens);
    this.pendingPrefillTokens += demand.promptTokens;
    this.held.push(held);
    return held;
  }

  /** The engine's process is another one: what the one before told of its memory is over. */
  restarted(): void {
    this.inUse.restarted();
    this.written.empty();
  }

  firstToken(held: HeldLease): void {
    if (!held.awaitsFirstToken) return;
    held.awaitsFirstToken = false;
    this.pendingPrefillTokens -= held.promptTokens;
  }

  end(held: HeldLease, use: LeaseUse, nowMs: number): void {
    this.firstToken(held);
    this.account(nowMs);
    this.forget(held);
    this.count(held, -1);
    const { totals, bytesPerToken } = this;
    const { share, forecast } = held.demand;
    const heldMs = Math.max(0, nowMs - held.lease.grantedAtMs);
    const promptTokens = use.promptTokens ?? held.promptTokens;
    const promptTook = share ? (share.promptTokens * promptTokens) / Math.max(1, held.promptTokens) : promptTokens;
    const outputTook = (share?.perOutputToken ?? 1) * (use.outputTokens ?? 0);
    const tookTokens = promptTook + outputTook;
    totals.ended += 1;
    const usedTokenMs = (promptTook + outputTook / 2) * heldMs;
    if (bytesPerToken === undefined) totals.unsized.usedTokenMs += usedTokenMs;
    else totals.usedByteMs += usedTokenMs * bytesPerToken;
    if (tookTokens > held.lease.kvTokens) totals.overflows += 1;
    if (this.leases === 0) {
      this.inUse.empty();
      this.written.empty();
    } else {
      this.inUse.ended(held.demand.kvTokens, tookTokens, held.readings, nowMs);
      this.written.ended(outputTook);
    }
    if (forecast && use.completed === true && use.outputTokens !== undefined)
      this.pooled?.observe(forecast, use.outputTokens);
  }

  private forget({ slot }: HeldLease): void {
    const last = this.held.pop()!;
    if (slot === this.held.length) return;
    this.held[slot] = last;
    last.slot = slot;
  }

  private momentsOf({ forecast, share }: Demand): Moments | undefined {
    const moments = forecast && this.pooled?.expect(forecast);
    if (!moments || !share) return moments;
    const { perOutputToken } = share;
    return { mean: moments.mean * perOutputToken, variance: moments.variance * perOutputToken ** 2 };
  }

  private get promisedTokens(): number {
    const { leases, boundTokens, certainTokens, meanTokens, variance, maxTokens } = this;
    return this.promiseFor(leases, boundTokens, certainTokens, meanTokens, variance, maxTokens);
  }

  /**
   * What so many calls will have in use at the next reading, with each prompt in memory, where they are many: all together may have been expected to write less than those that run have written. The
   * margin does not learn from it, but from whether promises were right beforehand: what comes to be held for calls that run is held too late for those that were let in on a promise.
   */
  private underWayTokens(leases: number): number {
    if (!this.pooled || leases <= FEW_LEASES) return 0;
    const tokens = this.certainTokens + this.written.tokens + this.inUse.nextTokens;
    return Math.min(this.maxTokens, Math.ceil(tokens));
  }

  private promiseFor(
    leases: number,
    boundTokens: number,
    certainTokens: number,
    meanTokens: number,
    variance: number,
    maxTokens: number,
  ): number {
    if (!this.pooled || leases <= FEW_LEASES) return boundTokens;
    return Math.min(maxTokens, Math.ceil(certainTokens + this.pooled.reserve(meanTokens, variance, leases)));
  }

  private count({ demand, moments, maxKvTokens }: HeldLease, sign: 1 | -1): void {
    this.leases += sign;
    this.maxTokens += sign * maxKvTokens;
    this.seats += sign * (demand.sequences ?? 1);
    this.boundTokens += sign * demand.kvTokens;
    this.certainTokens += sign * (moments ? promptShare(demand) : demand.kvTokens);
    // Sums of fractions drift; every idle moment begins them anew.
    if (this.leases === 0) {
      this.meanTokens = 0;
      this.variance = 0;
      this.maxTokens = 0;
    } else if (moments) {
      this.meanTokens += sign * moments.mean;
      this.variance = Math.max(0, this.variance + sign * moments.variance);
    }
  }

  private account(nowMs: number): void {
    const { totals, bytesPerToken } = this;
    const passedMs = Math.max(0, nowMs - this.sinceMs);
    const reservedTokenMs = Math.min(this.reservedTokens, this.maxTokens) * passedMs;
    const maxTokenMs = this.maxTokens * passedMs;
    if (bytesPerToken === undefined) {
      totals.unsized.reservedTokenMs += reservedTokenMs;
      totals.unsized.maxTokenMs += maxTokenMs;
    } else {
      totals.reservedByteMs += reservedTokenMs * bytesPerToken;
      totals.maxTokenByteMs += maxTokenMs * bytesPerToken;
    }
    this.sinceMs = nowMs;
  }
}

/** What the prompt takes of the pool. */
function promptShare({ promptTokens, share }: Demand): number {
  return share?.promptTokens ?? promptTokens;
}

/** What the request itself allows a call to take; its bound where that is not known. */
function mostTokens({ maxKvTokens = 0, kvTokens }: Demand): number {
  return Math.max(maxKvTokens, kvTokens);
}
