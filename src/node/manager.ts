import { ChurnMap } from '../model/churn-map.js';
import type { Demand, EngineView, Lease, LeaseUse, NodeSpec, RefuseReason, ReserveResult } from '../model/fleet.js';
import type { EngineEvent, NodeAction, ReleaseReason } from './actions.js';
import { DEFAULT_NODE_CONFIG, type NodeConfig } from './config.js';
import { EngineRecord } from './engine-record.js';
import { holdAnswer } from './estimate.js';
import { emptyKvTotals, type HeldLease } from './kv-reservations.js';
import { MemoryLedger } from './ledger.js';
import { planReclaim, type ReclaimContext, type ReclaimStep } from './reclaim.js';
import type { EngineGauges, NodeStats } from './stats.js';
import { RoomConfirmation } from './telemetry.js';
import { buildView } from './view.js';

/**
 * Level 1: what stands ready on one node. Keeps the promises of seats and KV memory, the residency of every engine and the ledger of HBM and host RAM.
 * Effects come out of {@link tick}, which the body calls after every call that may have changed something, and at {@link nextTickMs}.
 * `reserve` and `release` cost a few microseconds; planning runs only when residency is in question.
 */
export class NodeManager {
  readonly ledger: MemoryLedger;
  private readonly config: NodeConfig;
  private readonly engines = new Map<string, EngineRecord>();
  private readonly leases = new ChurnMap<HeldLease>();
  /** Engine of every held stage. */
  private readonly heldAt = new ChurnMap<EngineRecord>();
  private readonly confirmation: RoomConfirmation;
  private readonly reclaim: ReclaimContext;
  private readonly kv = emptyKvTotals();
  private readonly changedIds = new Set<string>();
  private readonly grantable = new Set<EngineRecord>();
  private actions: NodeAction[] = [];
  private planDueMs = Number.POSITIVE_INFINITY;
  private epoch = 0;
  private leaseSequence = 0;
  private nowMs = 0;
  private coldStarts = { count: 0, requestMs: 0 };
  private moves = { sleeps: 0, wakes: 0, failures: 0 };
  private preemptions = 0;

  constructor(
    readonly spec: NodeSpec,
    config: Partial<NodeConfig> = {},
  ) {
    this.config = { ...DEFAULT_NODE_CONFIG, ...config };
    this.ledger = new MemoryLedger(
      spec.gpus.map(({ memoryBytes }) => memoryBytes),
      spec.hostMemoryBytes,
    );
    for (const engine of spec.engines) {
      this.engines.set(engine.engineId, new EngineRecord(engine, this.config, this.kv));
      this.ledger.add(engine);
    }
    this.confirmation = new RoomConfirmation(this.ledger, this.config.telemetry, this.config.telemetryMaxAgeMs);
    const records = [...this.engines.values()];
    this.reclaim = {
      engines: records,
      ledger: this.ledger,
      config: this.config,
      roomConfirmed: (record, nowMs) => this.confirmation.confirms(record, records, nowMs),
      foreignBytes: (gpu) => this.confirmation.foreignBytes(gpu),
    };
  }

  /**
   * Asks for a seat and KV room. A stage has at most one promise here: the same demand again gets the same answer, a demand for another engine
   * replaces the earlier promise.
   */
  reserve(demand: Demand, nowMs: number): ReserveResult {
    this.nowMs = nowMs;
    const { stageId, engineId } = demand;
    if (demand.epoch < this.epoch) return refuse(engineId, 'stale-epoch');
    this.epoch = demand.epoch;
    const record = this.engines.get(engineId);
    if (!record) return refuse(engineId, 'unknown-engine');
    const held = this.leases.get(stageId);
    if (held) {
      if (held.lease.engineId === engineId) return { kind: 'grant', lease: held.lease };
      this.release(stageId, {}, nowMs);
    }
    const heldAt = this.heldAt.get(stageId);
    if (heldAt === record) return holdAnswer(this.reclaim, record, demand, nowMs);
    if (heldAt) this.cancel(stageId, nowMs);

    const { state } = record.residency;
    if (state === 'down') return refuse(engineId, 'engine-down');
    if (state === 'failed') return refuse(engineId, 'engine-failed');
    if (demand.kvTokens > record.spec.kvPoolTokens) return refuse(engineId, 'too-large');
    if (state === 'running' && record.fits(demand) === 'fits') {
      const first = record.holds.first();
      if (!first || demand.orderKey < first.demand.orderKey) {
        return { kind: 'grant', lease: this.grant(record, demand, 0) };
      }
    }
    if (record.holds.size >= this.config.maxHoldsPerEngine) return refuse(engineId, 'queue-full');

    const answer = holdAnswer(this.reclaim, record, demand, nowMs);
    record.holds.add({ demand, reason: answer.reason, sinceMs: nowMs, cold: state !== 'running' });
    this.heldAt.set(stageId, record);
    if (state !== 'running') this.planDueMs = nowMs;
    else this.grantable.add(record);
    this.markChanged(record);
    return answer;
  }

  /** The caller no longer wants a held stage; nothing when it is not held. */
  cancel(stageId: string, nowMs: number): void {
    this.nowMs = nowMs;
    const record = this.heldAt.get(stageId);
    if (!record) return;
    this.heldAt.delete(stageId);
    record.holds.remove(stageId);
    this.planDueMs = nowMs;
    this.grantable.add(record);
    this.markChanged(record);
  }

  /** The stage's prompt has been prefilled. */
  firstToken(stageId: string, nowMs: number): void {
    this.nowMs = nowMs;
    const held = this.leases.get(stageId);
    if (!held) return;
    const record = this.engines.get(held.lease.engineId)!;
    record.reservations.firstToken(held);
    this.markChanged(record);
  }

  /** Ends a lease, by lease id or stage id, with what was truly used. A second call does nothing. */
  release(id: string, use: LeaseUse, nowMs: number): void {
    this.nowMs = nowMs;
    const stageId = this.leases.has(id) ? id : id.slice(0, id.lastIndexOf('~'));
    const held = this.leases.get(stageId);
    if (!held || (stageId !== id && held.lease.leaseId !== id)) return;
    this.leases.delete(stageId);
    const record = this.engines.get(held.lease.engineId)!;
    record.reservations.end(held, use, nowMs);
    record.leaseEnded(held, nowMs);
    if (record.holds.size > 0) this.grantable.add(record);
    this.markChanged(record);
    if (record.idle) this.residencyChanged();
  }

  engineEvent(event: EngineEvent, nowMs: number): void {
    this.nowMs = nowMs;
    if (event.kind === 'telemetry') {
      this.confirmation.sample(event.gpuUsedBytes, nowMs);
      this.planDueMs = nowMs;
      return;
    }
    const record = this.engines.get(event.engineId);
    if (!record) return;
    record.observedAtMs = nowMs;
    this.markChanged(record);
    if (event.kind === 'counters') this.counters(record, event, nowMs);
    else this.residencyEvent(record, event, nowMs);
  }

  /** Effects of all that has happened since the last call. */
  tick(nowMs: number): NodeAction[] {
    this.nowMs = nowMs;
    for (const record of this.grantable) this.grantHolds(record);
    this.grantable.clear();
    if (this.planDueMs <= nowMs) {
      const { steps, nextMs } = planReclaim(this.reclaim, nowMs);
      this.planDueMs = nextMs;
      for (const step of steps) this.carryOut(step, nowMs);
      for (const record of this.grantable) this.grantHolds(record);
      this.grantable.clear();
    }
    const { actions } = this;
    if (actions.length > 0) this.actions = [];
    return actions;
  }

  /** When `tick` has something to do although nothing happens before; Infinity when never. */
  nextTickMs(): number {
    return this.actions.length > 0 || this.grantable.size > 0 ? this.nowMs : this.planDueMs;
  }

  view(engineId: string): EngineView | undefined {
    const record = this.engines.get(engineId);
    return record && this.viewOf(record);
  }

  views(): EngineView[] {
    return this.reclaim.engines.map((record) => this.viewOf(record));
  }

  /** Engines whose view has changed since the last call. */
  changed(): string[] {
    const ids = [...this.changedIds];
    this.changedIds.clear();
    return ids;
  }

  /** Has this very lease not ended yet? */
  holdsLease({ stageId, leaseId }: Lease): boolean {
    return this.leases.get(stageId)?.lease.leaseId === leaseId;
  }

  gauges(engineId: string): EngineGauges | undefined {
    const record = this.engines.get(engineId);
    if (!record) return undefined;
    const { engineRunning: running, engineWaiting: waiting, kvUsage, reservations } = record;
    return { leases: reservations.leases, running, waiting, kvUsage };
  }

  stats(): NodeStats {
    return {
      leases: this.leases.size,
      holds: this.heldAt.size,
      kv: { ...this.kv },
      coldStarts: { ...this.coldStarts },
      preemptions: this.preemptions,
      moves: { ...this.moves },
    };
  }

  private grant(record: EngineRecord, demand: Demand, coldStartMs: number): Lease {
    const lease: Lease = {
      leaseId: `${demand.stageId}~${this.leaseSequence++}`,
      stageId: demand.stageId,
      engineId: record.spec.engineId,
      nodeId: this.spec.nodeId,
      kvTokens: demand.kvTokens,
      epoch: demand.epoch,
      grantedAtMs: this.nowMs,
      coldStartMs,
    };
    const wasIdle = record.idle;
    this.leases.set(demand.stageId, record.reservations.add(demand, lease));
    record.lastUsedMs = this.nowMs;
    record.lastGrantOrderKey = demand.orderKey;
    this.markChanged(record);
    // Who is busy decides how soon the others could get room.
    if (wasIdle) this.markForecastsChanged();
    return lease;
  }

  /** Grants held stages in order; the first that does not fit stops the line, so that it is not overtaken for ever. */
  private grantHolds(record: EngineRecord): void {
    if (record.residency.state !== 'running') return;
    for (;;) {
      const hold = record.holds.first();
      if (!hold || record.fits(hold.demand) !== 'fits') return;
      record.holds.takeFirst();
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
    record.engineRunning = event.running;
    record.engineWaiting = event.waiting;
    record.kvUsage = event.kvUsage;
    if (record.residency.state !== 'running') return;
    const fresh = record.seatLimit.observe(event, record.reservations.leases, nowMs);
    record.countPreemptions(fresh, nowMs);
    this.preemptions += fresh;
    if (record.holds.size > 0) this.grantable.add(record);
  }

  private residencyEvent(
    record: EngineRecord,
    event: Exclude<EngineEvent, { kind: 'telemetry' | 'counters' }>,
    nowMs: number,
  ): void {
    const { residency, durations } = record;
    const { engineId } = record.spec;
    const level = residency.level === 2 ? 2 : 1;
    const elapsedMs = nowMs - residency.sinceMs;
    switch (event.kind) {
      case 'engine-up':
        record.started(event.limits, event.level);
        residency.found(event.level, nowMs);
        this.ledger.found(engineId, event.level);
        break;
      case 'engine-down':
        residency.apply('down', nowMs);
        if (event.reason === 'refused') this.ledger.gone(engineId);
        this.releaseHolds(record, 'engine-down');
        break;
      case 'slept':
        if (!residency.apply('slept', nowMs)) return;
        this.ledger.sleepDone(engineId);
        this.confirmation.memoryFreed(nowMs);
        durations.observe('sleep', level, elapsedMs);
        this.moves.sleeps += 1;
        break;
      case 'sleep-failed':
        if (!residency.apply('sleep-failed', nowMs)) return;
        this.ledger.sleepFailed(engineId);
        this.moves.failures += 1;
        break;
      case 'woke':
        if (!residency.apply('woke', nowMs)) return;
        if (level === 2) {
          this.actions.push({ kind: 'canary', engineId });
          return;
        }
        this.awake(record, elapsedMs, 1);
        break;
      case 'canary-passed':
        if (!residency.apply('canary-passed', nowMs)) return;
        this.awake(record, elapsedMs, 2);
        break;
      case 'canary-failed':
      case 'wake-failed':
        if (!residency.apply(event.kind, nowMs)) return;
        this.moves.failures += 1;
        if (residency.state === 'failed') this.releaseHolds(record, 'engine-failed');
        break;
    }
    this.grantable.add(record);
    this.residencyChanged();
  }

  private awake(record: EngineRecord, tookMs: number, level: 1 | 2): void {
    this.ledger.wakeDone(record.spec.engineId);
    record.durations.observe('wake', level, tookMs);
    this.moves.wakes += 1;
  }

  private releaseHolds(record: EngineRecord, reason: ReleaseReason): void {
    for (let hold = record.holds.takeFirst(); hold; hold = record.holds.takeFirst()) {
      const { stageId } = hold.demand;
      this.heldAt.delete(stageId);
      this.actions.push({ kind: 'release-hold', stageId, engineId: record.spec.engineId, reason });
    }
  }

  private carryOut(step: ReclaimStep, nowMs: number): void {
    const { record } = step;
    const { engineId } = record.spec;
    const { residency } = record;
    switch (step.kind) {
      case 'wake': {
        const level = residency.level === 2 ? 2 : 1;
        if (!this.ledger.beginWake(engineId))
          throw new Error(`NodeManager: no room for the planned wake of ${engineId}`);
        residency.apply('wake', nowMs);
        this.actions.push({ kind: 'wake', engineId, level });
        break;
      }
      case 'sleep': {
        // Another sleep of the same plan may have taken the host RAM that this one counted on.
        const level = record.sleepLevel(this.ledger, nowMs);
        if (level === undefined || !this.ledger.beginSleep(engineId, level)) return;
        residency.beginSleep(level, nowMs);
        this.actions.push({ kind: 'sleep', engineId, level, mode: 'wait' });
        break;
      }
      case 'drain':
      case 'undrain':
        residency.apply(step.kind, nowMs);
        this.grantable.add(record);
        break;
    }
    this.markChanged(record);
    this.markForecastsChanged();
  }

  private residencyChanged(): void {
    this.planDueMs = this.nowMs;
    this.markForecastsChanged();
  }

  /** The forecasts of engines that do not run depend on what all the others do. */
  private markForecastsChanged(): void {
    for (const record of this.reclaim.engines) if (record.residency.state !== 'running') this.markChanged(record);
  }

  private markChanged(record: EngineRecord): void {
    record.version += 1;
    record.cachedView = undefined;
    this.changedIds.add(record.spec.engineId);
  }

  private viewOf(record: EngineRecord): EngineView {
    record.cachedView ??= buildView(this.reclaim, record, this.nowMs);
    return record.cachedView;
  }
}

function refuse(engineId: string, reason: RefuseReason): ReserveResult {
  return { kind: 'refuse', engineId, reason };
}
