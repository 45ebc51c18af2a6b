import type { Demand, EngineSpec, EngineView, LeaseUse, Leaving, RefuseReason, WeightFiles } from '../model/fleet.js';
import type { EngineCounters, EngineLimits, FoundLevel, SleepLevel } from './actions.js';
import type { NodeConfig } from './config.js';
import { type HostPinning, MoveDurations } from './durations.js';
import { EngineReservations } from './engine-reservations.js';
import { type Hold, HoldQueue, NOT_PAUSED } from './holds.js';
import { KeptPrefixes } from './kept-prefixes.js';
import type { HeldLease, KvUseTotals } from './kv-reservations.js';
import type { MemoryLedger } from './ledger.js';
import { MixSeats } from './mix-seats.js';
import { Pace } from './pace.js';
import type { PooledBound } from './pooled-bound.js';
import { EngineResidency } from './residency.js';
import { SeatLimit } from './seat-limit.js';
import type { EngineGauges } from './stats.js';
import { EngineUse } from './use.js';

/** Taken for the length of a lease until some have ended. */
const UNKNOWN_LEASE_MS = 10_000;
const LEASE_LEARNING_RATE = 0.1;
const MINUTE_MS = 60_000;
/** Preemptions inside vLLM cost whole prompts; a tenth more memory for each in a minute, up to half as much again. */
const MARGIN_PER_PREEMPTION = 0.1;
const MOST_MARGIN = 0.5;
/** One reading may have been taken between two steps. */
const STARVED_READINGS = 2;

/** All that the manager keeps about one engine. */
export class EngineRecord {
  readonly residency: EngineResidency;
  readonly durations: MoveDurations;
  reservations: EngineReservations;
  readonly holds = new HoldQueue();
  readonly use = new EngineUse();
  readonly kept = new KeptPrefixes();
  readonly pace = new Pace();
  mix: MixSeats;
  seatLimit: SeatLimit;
  /** KV tokens that may be promised: the pool, or what the limit of an elastic one allows. */
  kvLimitTokens: number;
  /** Bytes to which an elastic pool has been told to shrink, until it is seen to have done so. */
  kvShrinkingTo: number | undefined;
  /** Does its KV limit follow? */
  kvMoves = true;
  /** Has its limit been below its pool since its counters were read last? */
  kvLowered = false;
  /** KV memory that it is not asked to give back while it has leases: it was given to those that had starved. */
  kvFloorBytes = 0;
  /** KV memory that it keeps for each promised byte: more than 1 while its own counters show that promises were too small. */
  kvMargin = 1;
  /** Takes no new batch stages later in the order than this: an interactive one waits for the room of whoever empties first. */
  batchPausedAfter = NOT_PAUSED;
  /** Since when its process, which does not run, wants to start; undefined where none does. */
  startWantedAtMs: number | undefined;
  /** Level of its last sleep, and so of the next one as far as can be told. */
  usualLevel: SleepLevel = 1;
  /** Where a level-2 wake reads the weights. */
  weightFiles: WeightFiles = 'disk';
  /** One of its GPUs has failed: it takes nothing new, and what runs may end. */
  cordoned = false;
  /** Undefined while it is to stay. */
  leaving: Leaving | undefined;
  /** Has a stage been asked of its process? */
  usedSinceStart = false;
  /** A wake from level 2 has failed: it is not chosen where level 1 is possible. */
  reloadFails = false;
  /** Sleeps only to be woken at once. */
  cycling = false;
  lastUsedMs = 0;
  /** When calls that hung with it were last sent elsewhere. */
  gaveUpAtMs = Number.NEGATIVE_INFINITY;
  lastGrantOrderKey = Number.NEGATIVE_INFINITY;
  meanLeaseMs = UNKNOWN_LEASE_MS;
  engineRunning: number | undefined;
  engineWaiting: number | undefined;
  kvUsage = 0;
  private recentPreemptions = 0;
  /** The last readings, one after the other, at which nothing in it ran and what was inside waited under a limit below its pool. */
  private starvedReadings = 0;
  private countersAtMs = 0;

  observedAtMs = 0;
  version = 0;
  cachedView: EngineView | undefined;
  /** Its view has changed and nobody has been told; its holds are to be looked at. */
  changeNoted = false;
  grantNoted = false;

  constructor(
    public spec: EngineSpec,
    readonly config: NodeConfig,
    private readonly totals: KvUseTotals,
    private readonly pooled: PooledBound | undefined,
    pinning: HostPinning,
  ) {
    this.residency = new EngineResidency(config.retry);
    this.durations = new MoveDurations(spec, pinning);
    this.reservations = this.newReservations();
    this.mix = new MixSeats(spec);
    this.seatLimit = this.newSeatLimit();
    this.kvLimitTokens = spec.kvPoolTokens;
  }

  /** What runs on it may end, and nothing else is begun. */
  get takesNothing(): boolean {
    return this.cordoned || this.leaving !== undefined;
  }

  /** Why it takes nothing now; undefined where it may, or could be made to. */
  refusal({ kvTokens }: Demand): RefuseReason | undefined {
    const { state } = this.residency;
    if (this.leaving) return 'engine-leaving';
    if (state === 'down') return 'engine-down';
    if (state === 'failed' || this.cordoned) return 'engine-failed';
    return kvTokens > this.spec.kvPoolTokens / this.reservations.ranks.length ? 'too-large' : undefined;
  }

  /** Who is held for longest in the order, of one rank where it has several. */
  firstHold(rank: number | undefined): Hold | undefined {
    const { holds, batchPausedAfter } = this;
    return rank === undefined ? holds.first(batchPausedAfter) : holds.firstOn(rank, batchPausedAfter);
  }

  gauges(): EngineGauges {
    const { engineRunning: running, engineWaiting: waiting, kvUsage, reservations } = this;
    return { leases: reservations.leases, running, waiting, kvUsage, heldKvTokens: reservations.reservedTokens };
  }

  get idle(): boolean {
    return this.reservations.leases === 0;
  }

  /** Takes what a process told about itself; what the counters of an earlier one taught is forgotten. */
  started(limits: EngineLimits | undefined, level: FoundLevel, slept: boolean): void {
    this.durations.started(level, slept);
    this.startWantedAtMs = undefined;
    this.usedSinceStart = false;
    this.cycling = false;
    this.usualLevel = level === 2 ? 2 : 1;
    if (limits) this.spec = { ...this.spec, ...limits };
    this.mix = new MixSeats(this.spec);
    if (this.reservations.ranks.length === ranksOf(this.spec))
      this.reservations.bytesPerToken = knownKvBytes(this.spec);
    else this.newRanks();
    this.seatLimit = this.newSeatLimit();
    this.kvLimitTokens = this.spec.kvPoolTokens;
    this.kvLowered = false;
    this.kvShrinkingTo = undefined;
    this.kvMoves = true;
    this.kvMargin = 1;
    this.starvedReadings = 0;
    this.kvFloorBytes = 0;
    this.recentPreemptions = 0;
    this.engineRunning = undefined;
    this.engineWaiting = undefined;
    this.kvUsage = 0;
    this.pace.reset();
    this.reservations.restarted();
  }

  /**
   * The level at which it can be put to sleep now, or undefined when it cannot: pinned host RAM where there is room, else discarding. `hurried`: somebody waits for its memory, and a first sleep
   * that would pin host RAM takes long.
   */
  sleepLevel(ledger: MemoryLedger, nowMs: number, hurried = false): SleepLevel | undefined {
    const { spec, residency, config } = this;
    if (!spec.sleepCapable || !residency.sleepWorks || nowMs < residency.sleepRetryAtMs) return undefined;
    const deep = config.deepSleep && spec.reloadsWeights !== false && ledger.canSleep(spec.engineId, 2) ? 2 : undefined;
    if (!ledger.canSleep(spec.engineId, 1)) return deep;
    const drops = hurried && config.firstSleep && !this.reloadFails && this.durations.dropsFirst(this.weightFiles);
    return drops && deep ? deep : 1;
  }

  /** Until its memory is free, once it is idle and somebody waits for that. */
  evictionMs(ledger: MemoryLedger, nowMs: number): number {
    return this.durations.sleepMs(this.sleepLevel(ledger, nowMs, true) ?? 1);
  }

  /** Until it serves, from the sleep that it is in, or that it falls into or wakes from. */
  wakeMs(): number {
    return this.durations.wakeMs(this.residency.level === 2 ? 2 : 1, this.weightFiles);
  }

  /** Sleep and wake together: what evicting it costs it. */
  reloadMs(): number {
    return this.durations.cycleMs(this.usualLevel, this.weightFiles);
  }

  /** Place in the global order of the most urgent stage that room for it would serve: those that are held, or the first that waits for its model and was not sent for want of room among them. */
  claimKey(): number {
    const first = this.holds.first();
    // Those that it would serve have begun.
    if (!first) return Number.NEGATIVE_INFINITY;
    return Math.min(first.demand.orderKey, this.config.firstWaitingKey(this.spec.model));
  }

  /** Demands that are to be expected while it would fall asleep and wake again. */
  expectedUses(nowMs: number): number {
    const { queued, expected } = this.config.demand(this.spec.model);
    return this.use.rate(nowMs) * this.reloadMs() + queued + expected;
  }

  /** How long it stays awake before it may be emptied while busy. */
  minResidencyMs(): number {
    return Math.max(this.config.minResidencyMs, 2 * this.reloadMs());
  }

  /** A stage asks for it. */
  asked(nowMs: number): void {
    this.usedSinceStart = true;
    this.use.used(nowMs);
  }

  /**
   * Is there a seat, on the rank of the demand, counting the small look-ahead that hides the round trip, and KV room? A demand of several sequences needs one free seat too, and then takes as many as it
   * has: were it to wait for all of them, those who need one would take each as it comes free.
   */
  fits(demand: Demand): 'fits' | 'seats-full' | 'kv-full' {
    const { ranks } = this.reservations;
    const { seats } = ranks[demand.rank ?? 0]!;
    if (seats >= this.seatLimit.seats / ranks.length + this.config.lookAhead) return 'seats-full';
    return this.tokensWith(demand) <= this.kvLimitTokens / ranks.length ? 'fits' : 'kv-full';
  }

  /** KV tokens that are taken, on the rank of the demand, once the stage has been let in. */
  tokensWith(demand: Demand): number {
    const { rank = 0, session } = demand;
    return this.reservations.ranks[rank]!.reservedWith(demand) + this.kept.tokensBesides(session, rank);
  }

  /** The demand with a rank that there is, where the engine has several to choose from, and without one where it has not. */
  ranked(demand: Demand): Demand {
    const { reservations } = this;
    const rank = reservations.ranks.length === 1 ? undefined : reservations.rankFor(demand.rank);
    return rank === demand.rank ? demand : { ...demand, rank };
  }

  /** A call that has outgrown what was promised for it was pushed out, and comes in again only where all of it fits. */
  get kvStarved(): boolean {
    return this.starvedReadings >= STARVED_READINGS;
  }

  limitKv(tokens: number): void {
    this.kvLimitTokens = tokens;
    this.starvedReadings = 0;
    if (tokens < this.spec.kvPoolTokens) this.kvLowered = true;
  }

  leaseEnded(held: HeldLease, use: LeaseUse, nowMs: number): void {
    this.lastUsedMs = nowMs;
    this.pace.taken(this.reservations.seats, nowMs);
    this.mix.ended(use);
    if (this.idle) {
      this.starvedReadings = 0;
      this.kvFloorBytes = 0;
    }
    this.meanLeaseMs += LEASE_LEARNING_RATE * (nowMs - held.lease.grantedAtMs - this.meanLeaseMs);
  }

  /** Takes a reading of the engine's counters; returns how many preemptions are new. {@link preemptionsPerMinute} decays with a time constant of a minute. */
  counted(counters: EngineCounters, nowMs: number): number {
    const { running, waiting, kvUsage } = counters;
    const { kvPoolTokens } = this.spec;
    this.engineRunning = running;
    this.engineWaiting = waiting;
    this.kvUsage = kvUsage;
    const starves = running === 0 && waiting > 0 && !this.idle && this.kvLimitTokens < kvPoolTokens;
    this.starvedReadings = starves ? this.starvedReadings + 1 : 0;
    const inUseTokens = Number.isFinite(kvPoolTokens) ? Math.ceil(kvUsage * kvPoolTokens) : undefined;
    if (inUseTokens !== undefined) this.reservations.read(counters, kvPoolTokens, nowMs);
    this.pace.observe(counters, inUseTokens ?? 0, nowMs);
    if (this.residency.state !== 'running') return 0;
    const fresh = this.seatLimit.observe(counters, this.reservations.seats, nowMs, this.kvLowered);
    this.kvLowered = this.kvLimitTokens < kvPoolTokens;
    this.recentPreemptions = this.preemptionsPerMinute(nowMs) + fresh;
    this.countersAtMs = nowMs;
    this.kvMargin = 1 + Math.min(MOST_MARGIN, this.recentPreemptions * MARGIN_PER_PREEMPTION);
    return fresh;
  }

  preemptionsPerMinute(nowMs: number): number {
    if (this.recentPreemptions === 0) return 0;
    const decayed = this.recentPreemptions * Math.exp((this.countersAtMs - nowMs) / MINUTE_MS);
    return decayed < 0.01 ? 0 : decayed;
  }

  private newSeatLimit(): SeatLimit {
    const { seatStepMs: stepMs, seatDecrease: decrease } = this.config;
    const lookAhead = ranksOf(this.spec) * this.config.lookAhead;
    return new SeatLimit(this.mix, { stepMs, decrease, lookAhead });
  }

  /** Others are told apart from now on: what ran on those before has gone with the process. */
  private newRanks(): void {
    this.reservations = this.newReservations();
    this.kept.clear();
    this.holds.changeDemands((demand) => this.ranked(demand));
  }

  private newReservations(): EngineReservations {
    return new EngineReservations(ranksOf(this.spec), knownKvBytes(this.spec), this.totals, this.pooled);
  }
}

/** Data-parallel ranks that are told apart. */
function ranksOf({ chosenRanks = 1 }: EngineSpec): number {
  return chosenRanks;
}

/** KV bytes a token of all GPUs of an engine together; undefined where a token is all that is known. */
export function knownKvBytes({ kvBytesPerToken, gpuIndices }: EngineSpec): number | undefined {
  return kvBytesPerToken === 1 ? undefined : kvBytesPerToken * Math.max(1, gpuIndices.length);
}
