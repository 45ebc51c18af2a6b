import { kvWish } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { NOT_PAUSED } from './holds.js';
import { beyondLent, givenBack, lentBytes } from './lent.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import type { Room } from './room.js';
import type { StartPlan } from './start-room.js';
import { type Claim, chooseVictims, earliestDueMs, rentPaidMs } from './victims.js';

const NOBODY: readonly EngineRecord[] = [];

/**
 * The plan for the claims on HBM while it is being made: {@link serve} each, the most urgent first, then {@link settle}. Every claim sees what those before it
 * have taken: room that a more urgent one waits for is not given to a later one.
 */
export class ClaimPlan {
  readonly steps: ReclaimStep[] = [];
  /** When to plan again if nothing happens before. */
  nextMs = Number.POSITIVE_INFINITY;
  /** Engines that leave their memory by this plan, and those that give some of it back. */
  private readonly leaving: Set<EngineRecord>;
  private readonly shrunk = new Set<EngineRecord>();
  /** Engines under way to their sleep for which somebody still waits. */
  private readonly wantedDrains = new Set<EngineRecord>();
  /** Place in the order of the first interactive stage that an engine's batch stages make room for. */
  private readonly pausedAfter = new Map<EngineRecord, number>();
  /** HBM by GPU that this plan gives away: neither the account nor the driver shows it yet. */
  private readonly given = new Map<number, number>();

  /** @param starts What is planned already for processes that are to start. */
  constructor(
    private readonly context: ReclaimContext,
    private readonly room: Room,
    starts: StartPlan,
    private readonly nowMs: number,
  ) {
    this.leaving = new Set(starts.steps.map(({ record }) => record));
    for (const { kind, record } of starts.steps) {
      if (kind === 'start') this.give(record, context.ledger.startBytes(record.spec.engineId));
    }
    for (const start of starts.waiting) {
      for (const record of context.engines) if (takesTurns(record, start)) this.wantedDrains.add(record);
    }
  }

  /** Gives the engine room that is free, or has room made for it by the least disturbing rung that suffices. */
  serve(target: EngineRecord, claimKey: number): void {
    const { room, nowMs } = this;
    const { asleep, wakeRetryAtMs } = target.residency;
    if (asleep && nowMs < wakeRetryAtMs) {
      this.again(wakeRetryAtMs);
      return;
    }
    const { leastBytes, wishedBytes } = kvWish(target, this.context.ledger);
    const kvBytes = this.isFree(target, this.bytesFor(target, wishedBytes)) ? wishedBytes : leastBytes;
    const bytes = this.bytesFor(target, kvBytes);
    if (this.isFree(target, bytes)) {
      room.claim(target, bytes);
      if (this.isConfirmed(target, bytes)) {
        this.give(target, bytes);
        this.steps.push({ kind: asleep ? 'wake' : 'grow', record: target, kvBytes });
      } else this.again(nowMs + this.context.config.telemetryMaxAgeMs);
    } else if (this.makeRoom(target, claimKey, bytes)) {
      room.claim(target, bytes);
      for (const record of this.context.engines) {
        if (record.residency.state === 'draining' && takesTurns(record, target)) this.wantedDrains.add(record);
      }
    }
  }

  /** What follows from all claims for engines that take no batch stages, or are being emptied: whom nobody needs goes on. */
  settle(): void {
    const { engines, ledger } = this.context;
    for (const record of engines) {
      const afterKey = this.pausedAfter.get(record) ?? NOT_PAUSED;
      if (afterKey !== record.batchPausedAfter) this.steps.push({ kind: 'pause-batch', record, afterKey });
      if (record.residency.state !== 'draining') continue;
      if (!this.wantedDrains.has(record)) this.steps.push({ kind: 'undrain', record });
      else if (record.idle) {
        const able = record.sleepLevel(ledger, this.nowMs) !== undefined;
        this.steps.push(able ? { kind: 'sleep', record, hurried: true } : { kind: 'undrain', record });
      }
    }
  }

  private again(atMs: number): void {
    this.nextMs = Math.min(this.nextMs, atMs);
  }

  private give({ spec }: EngineRecord, bytes: number): void {
    for (const gpu of spec.gpuIndices) this.given.set(gpu, (this.given.get(gpu) ?? 0) + bytes);
  }

  /** Does the driver show the room, for those as well that this plan lets have some of it? */
  private isConfirmed(target: EngineRecord, bytes: number): boolean {
    const given = bytes > 0 ? Math.max(0, ...target.spec.gpuIndices.map((gpu) => this.given.get(gpu) ?? 0)) : 0;
    return this.context.roomConfirmed(target, bytes + given, this.nowMs);
  }

  /** HBM per GPU that the engine needs besides what it has, to run with so much KV memory. */
  private bytesFor({ residency, spec: { engineId } }: EngineRecord, kvBytes: number): number {
    const { ledger } = this.context;
    return residency.asleep ? ledger.wakeBytes(engineId, kvBytes) : kvBytes - ledger.kvBytes(engineId);
  }

  private isFree(target: EngineRecord, bytes: number): boolean {
    return this.room.missing(target, bytes, this.room.free).length === 0;
  }

  /** Takes back what is lent and not promised, and puts engines to sleep where that does not suffice. False where nothing can be done yet. */
  private makeRoom(target: EngineRecord, claimKey: number, bytes: number): boolean {
    const { room, leaving, shrunk } = this;
    const { engines, ledger } = this.context;
    const need = room.missing(target, bytes, room.coming);
    const lenders = engines.filter((record) => record !== target && !leaving.has(record) && !shrunk.has(record));
    const lent = lentBytes(ledger, lenders);
    const rest = beyondLent(need, lent);
    const hold = target.holds.first();
    // Where nobody is held, those inside wait for what others give back: nobody sleeps for them.
    const victims =
      rest.length === 0 ? NOBODY : hold && this.victimsFor(target, { claimKey, hold, need: rest, lent }, lenders);
    if (!victims) return false;
    for (const victim of victims) this.empty(victim, target);
    for (const { record, bytes: back } of givenBack(ledger, need, lent, victims)) {
      shrunk.add(record);
      room.willFree(record, back);
      this.steps.push({ kind: 'shrink', record, kvBytes: ledger.kvBytes(record.spec.engineId) - back });
    }
    return true;
  }

  /** Who sleeps for the target now; undefined where nobody may be asked to, or it has not waited long enough for what that costs others. */
  private victimsFor(
    target: EngineRecord,
    claim: Claim,
    lenders: readonly EngineRecord[],
  ): readonly EngineRecord[] | undefined {
    const { context, nowMs } = this;
    const others = lenders.filter(({ residency }) => residency.state === 'running');
    const victims = chooseVictims(context, claim, others, nowMs);
    if (!victims) {
      this.pauseBatch(target, others);
      this.again(earliestDueMs(context, claim, others, nowMs));
      return undefined;
    }
    const paidMs = rentPaidMs(context, target, victims, nowMs);
    if (paidMs > nowMs) {
      this.again(paidMs);
      return undefined;
    }
    return victims;
  }

  /** Neighbours take no batch stages that come later than an interactive one which waits for whoever empties first. */
  private pauseBatch(target: EngineRecord, others: readonly EngineRecord[]): void {
    const interactiveKey = target.holds.firstInteractiveKey();
    if (interactiveKey === undefined || !this.context.config.pauseBatch) return;
    for (const record of others) {
      if (!takesTurns(record, target)) continue;
      this.pausedAfter.set(record, Math.min(this.pausedAfter.get(record) ?? NOT_PAUSED, interactiveKey));
    }
  }

  private empty(victim: EngineRecord, target: EngineRecord): void {
    this.leaving.add(victim);
    this.room.willFree(victim, this.context.ledger.sleepFreesBytes(victim.spec.engineId));
    if (victim.idle) this.steps.push({ kind: 'sleep', record: victim, hurried: true });
    else this.steps.push({ kind: 'drain', record: victim }, ...requeued(this.context, target, victim, this.nowMs));
  }
}

/**
 * Batch stages of an engine that is being emptied for interactive ones, if stopping them costs less than waiting for them: what they have done so far is
 * lost, against the wait of every held stage for the rest of it. Undefined work of others, or one that cannot be restarted, keeps the engine busy anyway.
 */
function requeued(
  { leasesOn, config }: ReclaimContext,
  { holds }: EngineRecord,
  victim: EngineRecord,
  nowMs: number,
): ReclaimStep[] {
  if (!config.requeueBatch || !holds.first()!.demand.interactive) return [];
  const leases = leasesOn(victim);
  if (leases.some(({ restartable }) => !restartable)) return [];
  const lostMs = leases.reduce((sum, { lease }) => sum + nowMs - lease.grantedAtMs, 0);
  if (lostMs > holds.size * victim.meanLeaseMs) return [];
  const stageIds = leases.map(({ lease }) => lease.stageId);
  return [{ kind: 'requeue', record: victim, stageIds, reason: 'makes-room' }];
}

function takesTurns(a: EngineRecord, b: EngineRecord): boolean {
  return a.spec.gpuIndices.some((gpu) => b.spec.gpuIndices.includes(gpu));
}
