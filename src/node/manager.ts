import { ChurnMap } from '../model/churn-map.js';
import { clear } from '../model/clear.js';
import type {
  Demand,
  EngineSpec,
  EngineView,
  KeptContext,
  Lease,
  LeaseUse,
  Leaving,
  NodeSpec,
  RefuseReason,
  ReserveResult,
} from '../model/fleet.js';
import type { EngineEvent, NodeAction, ReleaseReason } from './actions.js';
import { DEFAULT_NODE_CONFIG, type NodeConfig } from './config.js';
import type { HostPinning } from './durations.js';
import { isElastic, wantsToGrow } from './elastic.js';
import { EngineRecord } from './engine-record.js';
import { holdAnswer } from './estimate.js';
import { emptyKvTotals } from './kv-reservations.js';
import { Leases } from './leases.js';
import { MemoryLedger } from './ledger.js';
import { PooledBound, type PooledBoundState } from './pooled-bound.js';
import type { ReclaimContext } from './reclaim-step.js';
import { ResidencyControl } from './residency-control.js';
import { RoomConfirmation } from './room-confirmation.js';
import type { EngineGauges, NodeStats } from './stats.js';
import { EngineViews } from './view.js';

/**
 * Level 1: what stands ready on one node. Keeps the promises of seats and KV memory, the residency of every engine and the ledger of HBM and host RAM.
 * Effects come out of {@link tick}, which the body calls after every call that may have changed something, and at {@link nextTickMs}.
 * `reserve` and `release` cost a few microseconds; planning runs only when residency is in question.
 */
export class NodeManager {
  readonly ledger: MemoryLedger;
  private readonly config: NodeConfig;
  private readonly engines = new Map<string, EngineRecord>();
  /** The same, as a list for whoever plans. */
  private readonly records: EngineRecord[] = [];
  private readonly leases: Leases;
  /** Engine of every held stage. */
  private readonly heldAt = new ChurnMap<EngineRecord>();
  private readonly confirmation: RoomConfirmation;
  private readonly reclaim: ReclaimContext;
  private readonly residency: ResidencyControl;
  private readonly kv = emptyKvTotals();
  /** Of all engines: what is learned of one kind of call at one of them holds at the others. */
  private readonly pooled = new PooledBound();
  private readonly pinning: HostPinning = { bytesPerMs: undefined };
  readonly engineViews: EngineViews;
  /** Engines whose holds may fit now; each stands here once. */
  private readonly grantable: EngineRecord[] = [];
  private actions: NodeAction[] = [];
  private epoch = 0;
  /** When the first kept context is over, or the place of the first held stage changes by time alone. */
  private timedDueMs = Number.POSITIVE_INFINITY;
  private nowMs = 0;
  private readonly coldStarts = { count: 0, requestMs: 0 };
  private preemptions = 0;

  constructor(
    readonly spec: NodeSpec,
    config: Partial<NodeConfig> = {},
  ) {
    this.config = { ...DEFAULT_NODE_CONFIG, ...config };
    if (this.config.kvState) this.pooled.restore(this.config.kvState);
    this.leases = new Leases(spec.nodeId);
    this.ledger = new MemoryLedger(
      spec.gpus.map(({ memoryBytes }) => memoryBytes),
      // What is set aside for copies of checkpoints is not pinned.
      spec.hostMemoryBytes - (spec.staging?.memoryBytes ?? 0),
    );
    this.confirmation = new RoomConfirmation(this.ledger, this.config.telemetry, this.config.telemetryMaxAgeMs);
    this.reclaim = {
      engines: this.records,
      ledger: this.ledger,
      config: this.config,
      roomConfirmed: (record, bytes, nowMs) => this.confirmation.confirms(record, bytes, this.records, nowMs),
      foreignBytes: (gpu) => this.confirmation.foreignBytes(gpu),
      leasesOn: ({ spec: { engineId } }) => this.leases.on(engineId),
    };
    this.engineViews = new EngineViews(this.reclaim);
    this.residency = new ResidencyControl(this.reclaim, this.confirmation, spec.staging?.memoryBytes, {
      act: (action) => this.actions.push(action),
      releaseHolds: (record, reason) => this.releaseHolds(record, reason),
      mayGrant: (record) => this.mayGrant(record),
      changed: (record) => this.engineViews.changed(record),
    });
    for (const engine of spec.engines) this.add(engine);
  }

  /** A further engine of the node; down until it is found. */
  join(spec: EngineSpec, nowMs: number): void {
    this.engineViews.changed(this.add(spec));
    this.residency.changed(nowMs);
  }

  /** See {@link ResidencyControl.leave}. */
  leave(engineId: string, leaving: Leaving | undefined, nowMs: number): void {
    this.residency.leave(this.engines.get(engineId)!, leaving, nowMs);
  }

  /** Does nothing run on the engine that leaves, and has it given up its room where others are to have that? */
  isOver(engineId: string, nowMs: number): boolean {
    const record = this.engines.get(engineId)!;
    return record.holds.size === 0 && !this.leases.areOn(engineId) && !this.residency.rests(record, nowMs);
  }

  /** Forgets an engine on which nothing runs and for which nobody waits. */
  forget(engineId: string, nowMs: number): void {
    const record = this.engines.get(engineId)!;
    if (record.holds.size > 0 || this.leases.areOn(engineId))
      throw new Error(`NodeManager: ${engineId} is forgotten with work on it`);
    this.engines.delete(engineId);
    this.records.splice(this.records.indexOf(record), 1);
    this.engineViews.forget(record);
    this.residency.forget(record, nowMs);
  }

  /**
   * Asks for a seat and KV room. A stage has at most one promise here: the same demand again gets the same answer, a demand for another engine
   * replaces the earlier promise.
   */
  reserve(asked: Demand, nowMs: number): ReserveResult {
    this.nowMs = nowMs;
    const { stageId, engineId } = asked;
    if (asked.epoch < this.epoch) return refuse(engineId, 'stale-epoch');
    this.epoch = asked.epoch;
    const record = this.engines.get(engineId);
    if (!record) return refuse(engineId, 'unknown-engine');
    const held = this.leases.of(stageId);
    if (held) {
      if (held.lease.engineId === engineId) return { kind: 'grant', lease: held.lease };
      this.release(stageId, {}, nowMs);
    }
    const heldAt = this.heldAt.get(stageId);
    if (heldAt === record) return holdAnswer(this.reclaim, record, record.ranked(asked), nowMs);
    if (heldAt) this.cancel(stageId, nowMs);

    record.asked(nowMs);
    const demand = record.ranked(asked);
    const refusal = record.refusal(demand);
    if (refusal) return refuse(engineId, refusal);
    const { state } = record.residency;
    const paused = !demand.interactive && demand.orderKey > record.batchPausedAfter;
    if (state === 'running' && !paused && record.fits(demand) === 'fits') {
      const first = record.firstHold(demand.rank);
      if (!first || demand.orderKey < first.demand.orderKey) {
        return { kind: 'grant', lease: this.grant(record, demand, 0) };
      }
    }
    if (record.holds.size >= this.config.maxHoldsPerEngine) return refuse(engineId, 'queue-full');

    const answer = holdAnswer(this.reclaim, record, demand, nowMs);
    record.holds.add({ demand, reason: answer.reason, sinceMs: nowMs, cold: state !== 'running' });
    this.heldAt.set(stageId, record);
    this.timedDueMs = Math.min(this.timedDueMs, record.holds.changeDueMs);
    if (state !== 'running' || isElastic(record)) this.residency.planDueMs = nowMs;
    else this.mayGrant(record);
    this.engineViews.changed(record);
    return answer;
  }

  /** The caller no longer wants a held stage; nothing when it is not held. */
  cancel(stageId: string, nowMs: number): void {
    this.nowMs = nowMs;
    const record = this.heldAt.get(stageId);
    if (!record) return;
    this.heldAt.delete(stageId);
    record.holds.remove(stageId);
    this.residency.planDueMs = nowMs;
    this.mayGrant(record);
    this.engineViews.changed(record);
  }

  /** The stage's prompt has been prefilled. */
  firstToken(stageId: string, nowMs: number): void {
    this.nowMs = nowMs;
    const held = this.leases.of(stageId);
    if (!held) return;
    const record = this.engines.get(held.lease.engineId)!;
    held.account.firstToken(held);
    this.engineViews.changed(record);
  }

  /** Ends a lease, by lease id or stage id, with what was truly used. A second call does nothing. */
  release(id: string, use: LeaseUse, nowMs: number): void {
    this.nowMs = nowMs;
    const held = this.leases.take(id);
    if (!held) return;
    const record = this.engines.get(held.lease.engineId)!;
    held.account.end(held, use, nowMs);
    record.leaseEnded(held, use, nowMs);
    if (record.holds.size > 0) this.mayGrant(record);
    this.engineViews.changed(record);
    // What is not promised any more can be given back, which others may be waiting for.
    if (isElastic(record) && this.heldAt.size > 0) this.residency.planDueMs = nowMs;
    if (record.idle) this.residency.becameIdle(nowMs);
  }

  /** May the process of an engine start? See {@link ResidencyControl.start}. */
  start(engineId: string, over: boolean, nowMs: number): boolean {
    const record = this.engines.get(engineId);
    return record !== undefined && this.residency.start(record, over, nowMs);
  }

  /**
   * Keeps the context that an agent has in the engine's cache: its memory counts as taken for others until then. Nothing where the engine does not run, or where its pool is
   * lent: the reclaim ladder takes prefix caches first.
   */
  keep(engineId: string, context: KeptContext, nowMs: number): void {
    this.nowMs = nowMs;
    const record = this.engines.get(engineId);
    if (record?.residency.state !== 'running' || record.leaving || isElastic(record)) return;
    record.kept.keep(context);
    this.timedDueMs = Math.min(this.timedDueMs, context.untilMs);
    this.engineViews.changed(record);
  }

  engineEvent(event: EngineEvent, nowMs: number): void {
    this.nowMs = nowMs;
    if (!('engineId' in event)) {
      this.residency.nodeReport(event, nowMs);
      return;
    }
    const record = this.engines.get(event.engineId);
    if (!record) return;
    record.observedAtMs = nowMs;
    this.engineViews.changed(record);
    if (event.kind === 'counters') this.counters(record, event, nowMs);
    else if (event.kind === 'adapters') record.spec = { ...record.spec, adapters: event.adapters };
    else {
      this.residency.report(record, event, nowMs);
      if (record.residency.state !== 'running') record.kept.clear();
    }
  }

  /** Effects of all that has happened since the last call. */
  tick(nowMs: number): NodeAction[] {
    this.nowMs = nowMs;
    if (nowMs >= this.timedDueMs) this.applyTimed();
    this.grantAll();
    this.residency.plan(nowMs);
    this.grantAll();
    const { actions } = this;
    if (actions.length > 0) this.actions = [];
    return actions;
  }

  /** When `tick` has something to do although nothing happens before; Infinity when never. */
  nextTickMs(): number {
    return this.actions.length > 0 || this.grantable.length > 0
      ? this.nowMs
      : Math.min(this.residency.planDueMs, this.timedDueMs);
  }

  view(engineId: string): EngineView | undefined {
    const record = this.engines.get(engineId);
    return record && this.engineViews.of(record, this.nowMs);
  }

  views(): EngineView[] {
    return this.reclaim.engines.map((record) => this.engineViews.of(record, this.nowMs));
  }

  /** Engines whose view has changed since the last call. */
  changed(): string[] {
    return this.engineViews.takeChanged();
  }

  /** Has this very lease not ended yet? */
  holdsLease(lease: Lease): boolean {
    return this.leases.has(lease);
  }

  /** Has its process slept at level 1, as far as is known, so that its host copy is pinned? */
  hasSlept(engineId: string): boolean {
    return this.engines.get(engineId)?.durations.hostCopyPinned === true;
  }

  gauges(engineId: string): EngineGauges | undefined {
    return this.engines.get(engineId)?.gauges();
  }

  stats(): NodeStats {
    return {
      leases: this.leases.size,
      holds: this.heldAt.size,
      kv: { ...this.kv, unsized: { ...this.kv.unsized } },
      coldStarts: { ...this.coldStarts },
      preemptions: this.preemptions,
      stagedBytes: this.residency.stagedBytes,
      moves: { ...this.residency.moves },
    };
  }

  /** What has been learned of the memory that calls need together. */
  kvState(): PooledBoundState {
    return this.pooled.state();
  }

  private add(spec: EngineSpec): EngineRecord {
    const { config, kv, pooled, pinning } = this;
    const record = new EngineRecord(spec, config, kv, config.pooledKv ? pooled : undefined, pinning);
    this.engines.set(spec.engineId, record);
    this.records.push(record);
    this.ledger.add(spec);
    this.residency.join(record);
    return record;
  }

  private grant(record: EngineRecord, demand: Demand, coldStartMs: number): Lease {
    const wasIdle = record.idle;
    const lease = this.leases.issue(record, demand, coldStartMs, this.nowMs);
    if (demand.session !== undefined) record.kept.drop(demand.session);
    record.lastUsedMs = this.nowMs;
    record.pace.taken(record.reservations.seats, this.nowMs);
    record.lastGrantOrderKey = demand.orderKey;
    this.engineViews.changed(record);
    // Who is busy decides how soon the others could get room.
    if (wasIdle) this.residency.forecastsChanged();
    return lease;
  }

  private applyTimed(): void {
    this.timedDueMs = Number.POSITIVE_INFINITY;
    for (const record of this.reclaim.engines) {
      const { kept, holds } = record;
      const reordered = holds.reorder(this.nowMs);
      if (kept.expire(this.nowMs) || reordered) {
        this.mayGrant(record);
        this.engineViews.changed(record);
      }
      if (reordered) this.residency.planDueMs = this.nowMs;
      this.timedDueMs = Math.min(this.timedDueMs, kept.dueMs, holds.changeDueMs);
    }
  }

  private grantAll(): void {
    const { grantable } = this;
    if (grantable.length === 0) return;
    for (const record of grantable) this.grantHolds(record);
    for (const record of grantable) record.grantNoted = false;
    clear(grantable);
  }

  private mayGrant(record: EngineRecord): void {
    if (record.grantNoted) return;
    record.grantNoted = true;
    this.grantable.push(record);
  }

  private grantHolds(record: EngineRecord): void {
    if (record.residency.state !== 'running') return;
    const ranks = record.reservations.ranks.length;
    if (ranks === 1) this.grantLine(record, undefined);
    else for (let rank = 0; rank < ranks; rank++) this.grantLine(record, rank);
  }

  /** Grants held stages, of one rank where the engine has several, in order; the first that does not fit stops the line, so that it is not overtaken for ever. */
  private grantLine(record: EngineRecord, rank: number | undefined): void {
    for (let granted = false; ; granted = true) {
      const hold = record.firstHold(rank);
      if (!hold || record.fits(hold.demand) !== 'fits') {
        // Its limit was moved for the one that has just started; the next may want more.
        if (granted && wantsToGrow(record)) this.residency.planDueMs = this.nowMs;
        return;
      }
      record.holds.remove(hold.demand.stageId);
      this.heldAt.delete(hold.demand.stageId);
      // The wait for weights ends when the engine becomes awake; what follows is the wait for a seat.
      const coldStartMs = hold.cold ? Math.max(0, record.residency.awakeSinceMs - hold.sinceMs) : 0;
      if (coldStartMs > 0) {
        this.coldStarts.count += 1;
        this.coldStarts.requestMs += coldStartMs;
      }
      this.actions.push({ kind: 'grant', lease: this.grant(record, hold.demand, coldStartMs) });
    }
  }

  private counters(record: EngineRecord, event: Extract<EngineEvent, { kind: 'counters' }>, nowMs: number): void {
    this.preemptions += record.counted(event, nowMs);
    if (record.kvStarved) this.residency.planDueMs = nowMs;
    if (record.residency.state === 'running' && record.holds.size > 0) this.mayGrant(record);
  }

  private releaseHolds(record: EngineRecord, reason: ReleaseReason): void {
    for (let hold = record.holds.takeFirst(); hold; hold = record.holds.takeFirst()) {
      const { stageId } = hold.demand;
      this.heldAt.delete(stageId);
      this.actions.push({ kind: 'release-hold', stageId, engineId: record.spec.engineId, reason });
    }
  }
}

function refuse(engineId: string, reason: RefuseReason): ReserveResult {
  return { kind: 'refuse', engineId, reason };
}
