import type { Leaving } from '../model/fleet.js';
import type { EngineEvent, NodeAction, ReleaseReason, StagingEvent } from './actions.js';
import { isElastic, tokensOf } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { isCrowded } from './first-sleep.js';
import { NOT_PAUSED } from './holds.js';
import { planReclaim } from './reclaim.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import type { RoomConfirmation } from './room-confirmation.js';
import { WeightStaging } from './staging.js';
import { planStuck } from './stuck.js';

/** What engines tell of their own residency. */
export type ResidencyReport = Exclude<Extract<EngineEvent, { engineId: string }>, { kind: 'counters' | 'adapters' }>;

/** What is told of the node and not of one engine. */
export type NodeReport = Exclude<EngineEvent, { engineId: string }>;

/** What the control of residency needs of the node's manager. */
export interface ResidencyHost {
  act(action: NodeAction): void;
  /** The stages held for the engine will not start there. */
  releaseHolds(record: EngineRecord, reason: ReleaseReason): void;
  /** Holds of the engine may fit now. */
  mayGrant(record: EngineRecord): void;
  changed(record: EngineRecord): void;
}

/** Keeps state and memory of every engine in step with what engines report, and turns the plan into sleeps, wakes and drains. */
export class ResidencyControl {
  readonly moves = { sleeps: 0, wakes: 0, failures: 0 };
  /** When to plan next; Infinity when only an event can change the plan. */
  planDueMs = Number.POSITIVE_INFINITY;

  private readonly staging: WeightStaging;

  /** @param stagingBytes Host RAM for copies of checkpoints; undefined where there are none. */
  constructor(
    private readonly context: ReclaimContext,
    private readonly confirmation: RoomConfirmation,
    stagingBytes: number | undefined,
    private readonly host: ResidencyHost,
  ) {
    this.staging = new WeightStaging(context, stagingBytes, (record) => {
      this.host.changed(record);
      this.forecastsChanged();
    });
  }

  get stagedBytes(): number {
    return this.staging.usedBytes;
  }

  private stagingReport(event: StagingEvent, nowMs: number): void {
    this.staging.report(event, nowMs);
    this.planDueMs = nowMs;
  }

  /** Takes engines on failed GPUs out, and back once they have not failed any more. */
  private cordon(failed: ReadonlySet<number>, nowMs: number): void {
    for (const record of this.context.engines) {
      const cordoned = record.spec.gpuIndices.some((gpu) => failed.has(gpu));
      if (cordoned === record.cordoned) continue;
      record.cordoned = cordoned;
      if (cordoned) this.host.releaseHolds(record, 'engine-failed');
      this.host.changed(record);
      this.changed(nowMs);
    }
  }

  /** A further engine of the node. */
  join(record: EngineRecord): void {
    this.staging.add(record);
  }

  /** Sends what waits for the engine elsewhere and begins nothing on it until it is empty; without `leaving` it is to stay after all. */
  leave(record: EngineRecord, leaving: Leaving | undefined, nowMs: number): void {
    record.leaving = leaving;
    if (leaving) {
      record.cycling = false;
      record.kept.clear();
      this.host.releaseHolds(record, 'engine-leaving');
    }
    this.host.changed(record);
    this.changed(nowMs);
  }

  /** Is the engine put to sleep before it is forgotten, or falling asleep? Its process goes on, and others of its GPUs are to have the room. */
  rests(record: EngineRecord, nowMs: number): boolean {
    const { residency, leaving, spec } = record;
    const { engines, ledger } = this.context;
    if (leaving !== 'for-good') return false;
    if (residency.state === 'falling-asleep') return true;
    if (residency.state !== 'running' && residency.state !== 'draining') return false;
    const specs = engines.map((each) => each.spec);
    return record.sleepLevel(ledger, nowMs) !== undefined && isCrowded(spec, specs, (gpu) => ledger.gpuCapacity(gpu));
  }

  /** The engine is gone, and its memory no concern of this node. */
  forget(record: EngineRecord, nowMs: number): void {
    this.staging.remove(record);
    this.context.ledger.remove(record.spec.engineId);
    this.changed(nowMs);
  }

  /** What is told of the node, its host and its GPUs. */
  nodeReport(event: NodeReport, nowMs: number): void {
    if (event.kind === 'telemetry') {
      this.confirmation.sample(event.gpuUsedBytes, nowMs);
      this.planDueMs = nowMs;
    } else if (event.kind === 'host-memory') this.context.ledger.hostSeen(event.bytes);
    else if (event.kind === 'failed-gpus') this.cordon(new Set(event.gpus), nowMs);
    else this.stagingReport(event, nowMs);
  }

  report(record: EngineRecord, event: ResidencyReport, nowMs: number): void {
    if (this.apply(record, event, nowMs)) {
      this.host.mayGrant(record);
      this.changed(nowMs);
    }
  }

  /** May the process of an engine start, and take its memory? Asked until it may. `over`: it has ended without serving, or is not wanted any more. One that leaves may not. */
  start(record: EngineRecord, over: boolean, nowMs: number): boolean {
    const { ledger } = this.context;
    const { engineId } = record.spec;
    const { state } = record.residency;
    if (over || record.leaving) {
      record.startWantedAtMs = undefined;
      if (state === 'down') ledger.gone(engineId);
      this.changed(nowMs);
      return false;
    }
    // The end of the process before is seen by looking.
    if (state !== 'down') return false;
    if (record.startWantedAtMs === undefined) {
      record.startWantedAtMs = nowMs;
      this.changed(nowMs);
    }
    return ledger.phase(engineId) === 'waking';
  }

  /** Plans if it is time, and carries the plan out. */
  plan(nowMs: number): void {
    if (this.planDueMs > nowMs) return;
    const reclaim = planReclaim(this.context, nowMs);
    const stuck = planStuck(this.context, nowMs);
    for (const step of [...reclaim.steps, ...stuck.steps]) this.carryOut(step, nowMs);
    for (const record of this.context.engines) {
      const rests = record.leaving && record.idle && this.rests(record, nowMs);
      if (rests && record.residency.state !== 'falling-asleep')
        this.carryOut({ kind: 'sleep', record, hurried: false }, nowMs);
    }
    const staging = this.staging.plan(nowMs);
    for (const action of staging.actions) this.host.act(action);
    this.planDueMs = Math.min(reclaim.nextMs, stuck.nextMs, staging.nextMs);
  }

  /** Something has changed that the plan, and the forecasts of engines that do not run, depend on. */
  changed(nowMs: number): void {
    this.planDueMs = nowMs;
    this.forecastsChanged();
  }

  /** An engine has no lease any more, so that it could sleep or lend its room: of interest unless all engines can do nothing but serve. */
  becameIdle(nowMs: number): void {
    for (const record of this.context.engines) {
      const { residency, spec, batchPausedAfter } = record;
      if (residency.state === 'running' && !spec.sleepCapable && !isElastic(record) && batchPausedAfter === NOT_PAUSED)
        continue;
      this.changed(nowMs);
      return;
    }
  }

  /** The forecasts of engines that do not run, and the room that elastic pools could grow into, depend on what all the others do. */
  forecastsChanged(): void {
    for (const record of this.context.engines) {
      if (record.residency.state !== 'running' || isElastic(record)) this.host.changed(record);
    }
  }

  /** False for a late answer of an earlier process, which changes nothing. */
  private apply(record: EngineRecord, event: ResidencyReport, nowMs: number): boolean {
    const { residency, durations } = record;
    const { ledger } = this.context;
    const { engineId } = record.spec;
    const level = residency.level === 2 ? 2 : 1;
    const elapsedMs = nowMs - residency.sinceMs;
    switch (event.kind) {
      case 'engine-up':
        record.started(event.limits, event.level, event.slept === true);
        if (record.spec.emulated) ledger.ignoreHost();
        residency.found(event.level, nowMs);
        ledger.found(engineId, event.level, event.slept === true);
        return true;
      case 'engine-down':
        residency.apply('down', nowMs);
        if (event.reason === 'refused') ledger.gone(engineId);
        this.host.releaseHolds(record, 'engine-down');
        return true;
      case 'slept':
        if (!residency.apply('slept', nowMs)) return false;
        ledger.sleepDone(engineId);
        record.kvShrinkingTo = undefined;
        this.confirmation.memoryFreed(nowMs);
        durations.slept(level, elapsedMs);
        this.moves.sleeps += 1;
        return true;
      case 'sleep-failed':
        if (!residency.apply('sleep-failed', nowMs)) return false;
        ledger.sleepFailed(engineId);
        this.moves.failures += 1;
        return true;
      case 'woke':
        if (!residency.apply('woke', nowMs)) return false;
        if (level === 2) {
          this.host.act({ kind: 'canary', engineId });
          return false;
        }
        this.awake(record, elapsedMs, 1);
        return true;
      case 'canary-passed':
        if (!residency.apply('canary-passed', nowMs)) return false;
        this.awake(record, elapsedMs, 2);
        return true;
      case 'kv-limited':
        if (record.kvShrinkingTo === undefined || event.bytes > record.kvShrinkingTo) return false;
        ledger.shrinkKv(engineId, record.kvShrinkingTo);
        record.kvShrinkingTo = undefined;
        this.confirmation.memoryFreed(nowMs);
        return true;
      case 'kv-limit-failed':
        record.kvMoves = false;
        record.kvShrinkingTo = undefined;
        record.limitKv(tokensOf(record, ledger.kvBytes(engineId)));
        return true;
      case 'canary-failed':
      case 'wake-failed':
        if (!residency.apply(event.kind, nowMs)) return false;
        this.moves.failures += 1;
        if (level === 2) {
          this.staging.suspect(record);
          record.reloadFails = true;
        }
        if (residency.state === 'failed') this.host.releaseHolds(record, 'engine-failed');
        return true;
    }
  }

  private awake(record: EngineRecord, tookMs: number, level: 1 | 2): void {
    this.context.ledger.wakeDone(record.spec.engineId);
    record.durations.woke(level, record.weightFiles, tookMs);
    this.moves.wakes += 1;
  }

  private limitKv(record: EngineRecord, kvBytes: number): void {
    record.limitKv(tokensOf(record, kvBytes));
    this.host.act({ kind: 'kv-limit', engineId: record.spec.engineId, bytes: kvBytes });
  }

  private carryOut(step: ReclaimStep, nowMs: number): void {
    const { record } = step;
    const { engineId } = record.spec;
    const { residency } = record;
    const { ledger } = this.context;
    switch (step.kind) {
      case 'wake': {
        const level = residency.level === 2 ? 2 : 1;
        // The account has the last word: a plan that was wrong must not end the agent.
        if (!ledger.beginWake(engineId, step.kvBytes)) {
          this.moves.failures += 1;
          return;
        }
        residency.apply('wake', nowMs);
        record.cycling = false;
        if (isElastic(record)) this.limitKv(record, ledger.kvBytes(engineId));
        this.host.act({ kind: 'wake', engineId, level, from: record.weightFiles });
        break;
      }
      case 'start':
        ledger.beginStart(engineId);
        break;
      case 'grow':
        if (!ledger.growKv(engineId, step.kvBytes)) return;
        if (record.kvStarved) record.kvFloorBytes = step.kvBytes;
        this.limitKv(record, step.kvBytes);
        this.host.mayGrant(record);
        break;
      case 'shrink':
        record.kvShrinkingTo = step.kvBytes;
        this.limitKv(record, step.kvBytes);
        break;
      case 'first-sleep':
      case 'sleep': {
        record.cycling = step.kind === 'first-sleep';
        // Another sleep of the same plan may have taken the host RAM that this one counted on.
        const hurried = step.kind === 'sleep' && step.hurried;
        const level = record.sleepLevel(ledger, nowMs, hurried);
        if (level === undefined || !ledger.beginSleep(engineId, level)) return;
        residency.beginSleep(level, nowMs);
        if (hurried && level === 2) record.durations.dropped(record.weightFiles);
        record.usualLevel = level;
        // One that others kept asleep after its own first sleep must not take the room that this one leaves for a moment.
        if (record.cycling) for (const other of this.context.engines) other.cycling = other === record;
        this.host.act({ kind: 'sleep', engineId, level, mode: 'wait' });
        break;
      }
      case 'pause-batch':
        record.batchPausedAfter = step.afterKey;
        this.host.mayGrant(record);
        break;
      case 'requeue':
        for (const stageId of step.stageIds) this.host.act({ kind: 'requeue', stageId, engineId, reason: step.reason });
        return;
      case 'drain':
      case 'undrain':
        residency.apply(step.kind, nowMs);
        this.host.mayGrant(record);
        break;
    }
    this.host.changed(record);
    this.forecastsChanged();
  }
}
