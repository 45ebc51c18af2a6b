import type { EngineState } from '../model/fleet.js';
import { kvWish, wantsToGrow } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { firstSleepStep } from './first-sleep.js';
import { NOT_PAUSED } from './holds.js';
import type { MemoryLedger } from './ledger.js';
import { beyondLent, givenBack, lentBytes } from './lent.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import { Room } from './room.js';
import { planStarts } from './start-room.js';
import { chooseVictims, earliestDueMs, rentPaidMs } from './victims.js';

export interface ReclaimPlan {
  readonly steps: readonly ReclaimStep[];
  /** When to plan again if nothing happens before; Infinity when only events can change the plan. */
  readonly nextMs: number;
}

/**
 * Who gets HBM for the stages that are held, most urgent claim first: an engine that sleeps, or an awake one whose KV limit can grow. Room is made by the least
 * disturbing rung that suffices: KV memory that was lent and is not promised, idle engines, and busy ones last. A busy engine is never put to sleep: it is
 * marked `draining` when a hold is due, takes no new work, and sleeps when its last lease has ended. Room that a more urgent hold waits for is not given to a
 * later one.
 */
export function planReclaim(context: ReclaimContext, nowMs: number): ReclaimPlan {
  const { engines, ledger, config } = context;
  const room = new Room(context);
  const starts = planStarts(context, room, nowMs);
  const steps: ReclaimStep[] = [...starts.steps];
  let { nextMs } = starts;
  for (const record of engines) {
    if (!isChargedForNobody(record, ledger)) continue;
    const { engineId } = record.spec;
    const { wakeRetryAtMs } = record.residency;
    if (nowMs < wakeRetryAtMs) nextMs = Math.min(nextMs, wakeRetryAtMs);
    else steps.push({ kind: 'wake', record, kvBytes: ledger.kvBytes(engineId) });
  }
  const targets = engines
    .filter((record) => (record.residency.asleep && record.holds.size > 0) || wantsToGrow(record))
    .map((record) => ({ record, claimKey: record.claimKey() }))
    .sort((a, b) => a.claimKey - b.claimKey);
  if (
    targets.length === 0 &&
    steps.length === 0 &&
    starts.waiting.length === 0 &&
    !engines.some(({ residency, batchPausedAfter }) => residency.state === 'draining' || batchPausedAfter < NOT_PAUSED)
  ) {
    const early = prefetchTarget(context, room, nowMs);
    if (early) steps.push({ kind: 'wake', record: early, kvBytes: kvWish(early, ledger).leastBytes });
    const first = early ? undefined : firstSleepStep(context, room, nowMs);
    if (first) steps.push(first);
    return { steps, nextMs };
  }
  const leaving = new Set<EngineRecord>(starts.steps.map(({ record }) => record));
  const shrunk = new Set<EngineRecord>();
  const wantedDrains = new Set<EngineRecord>();
  const pausedAfter = new Map<EngineRecord, number>();
  for (const { record: target, claimKey } of targets) {
    const asleep = target.residency.asleep;
    if (asleep && nowMs < target.residency.wakeRetryAtMs) {
      nextMs = Math.min(nextMs, target.residency.wakeRetryAtMs);
      continue;
    }
    const { engineId } = target.spec;
    const bytesFor = (kvBytes: number) =>
      asleep ? ledger.wakeBytes(engineId, kvBytes) : kvBytes - ledger.kvBytes(engineId);
    const { leastBytes, wishedBytes } = kvWish(target, ledger);
    const kvBytes = room.missing(target, bytesFor(wishedBytes), room.free).length === 0 ? wishedBytes : leastBytes;
    const bytes = bytesFor(kvBytes);
    if (room.missing(target, bytes, room.free).length === 0) {
      room.claim(target, bytes);
      if (context.roomConfirmed(target, bytes, nowMs)) {
        steps.push({ kind: asleep ? 'wake' : 'grow', record: target, kvBytes });
      } else nextMs = Math.min(nextMs, nowMs + config.telemetryMaxAgeMs);
      continue;
    }
    const need = room.missing(target, bytes, room.coming);
    const lenders = engines.filter((record) => record !== target && !leaving.has(record) && !shrunk.has(record));
    const lent = lentBytes(ledger, lenders);
    const rest = beyondLent(need, lent);
    let victims: readonly EngineRecord[] = [];
    if (rest.length > 0) {
      const first = target.holds.first()!;
      const others = lenders.filter(({ residency }) => residency.state === 'running');
      const chosen = chooseVictims(context, first, claimKey, rest, others, lent, nowMs);
      const interactiveKey = target.holds.firstInteractiveKey();
      if (!chosen && interactiveKey !== undefined && config.pauseBatch) {
        for (const record of others) {
          if (takesTurns(record, target)) {
            pausedAfter.set(record, Math.min(pausedAfter.get(record) ?? NOT_PAUSED, interactiveKey));
          }
        }
      }
      if (!chosen) {
        nextMs = Math.min(nextMs, earliestDueMs(context, first, rest, others, nowMs));
        continue;
      }
      const paidMs = rentPaidMs(context, target, chosen, nowMs);
      if (paidMs > nowMs) {
        nextMs = Math.min(nextMs, paidMs);
        continue;
      }
      victims = chosen;
      for (const victim of victims) {
        leaving.add(victim);
        room.willFree(victim, ledger.sleepFreesBytes(victim.spec.engineId));
        if (victim.idle) steps.push({ kind: 'sleep', record: victim, hurried: true });
        else steps.push({ kind: 'drain', record: victim }, ...requeued(context, target, victim, nowMs));
      }
    }
    for (const { record, bytes: back } of givenBack(ledger, need, lent, victims)) {
      shrunk.add(record);
      room.willFree(record, back);
      steps.push({ kind: 'shrink', record, kvBytes: ledger.kvBytes(record.spec.engineId) - back });
    }
    room.claim(target, bytes);
    for (const record of engines) {
      if (record.residency.state === 'draining' && takesTurns(record, target)) wantedDrains.add(record);
    }
  }

  for (const start of starts.waiting) {
    for (const record of engines) if (takesTurns(record, start)) wantedDrains.add(record);
  }
  for (const record of engines) {
    const afterKey = pausedAfter.get(record) ?? NOT_PAUSED;
    if (afterKey !== record.batchPausedAfter) steps.push({ kind: 'pause-batch', record, afterKey });
    if (record.residency.state !== 'draining') continue;
    if (!wantedDrains.has(record)) steps.push({ kind: 'undrain', record });
    else if (record.idle) {
      const able = record.sleepLevel(ledger, nowMs) !== undefined;
      steps.push(able ? { kind: 'sleep', record, hurried: true } : { kind: 'undrain', record });
    }
  }
  return { steps, nextMs };
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
  return [{ kind: 'requeue', record: victim, stageIds: leases.map(({ lease }) => lease.stageId), hung: false }];
}

/**
 * The sleeping engine that is worth waking before anybody asks: the one that is expected the most, into room that is free, while no stage is held for weights
 * and nothing else moves, so that it costs nobody anything but the room.
 */
function prefetchTarget(context: ReclaimContext, room: Room, nowMs: number): EngineRecord | undefined {
  const { engines, ledger, config } = context;
  if (!config.prefetch || engines.some(({ residency }) => isMoving(residency.state))) return undefined;
  let best: EngineRecord | undefined;
  let most = config.prefetchLeastUses;
  for (const record of engines) {
    if (record.cordoned || !record.residency.asleep || nowMs < record.residency.wakeRetryAtMs) continue;
    const expected = record.expectedUses(nowMs);
    if (expected < most) continue;
    const bytes = ledger.wakeBytes(record.spec.engineId, kvWish(record, ledger).leastBytes);
    if (room.missing(record, bytes, room.free).length > 0 || !context.roomConfirmed(record, bytes, nowMs)) continue;
    most = expected;
    best = record;
  }
  return best;
}

/** Its wake has failed and nobody waits for it any more. It is tried again all the same: the memory stays charged until it has been awake, and others may wait for that. */
function isChargedForNobody({ residency, holds, cordoned, spec }: EngineRecord, ledger: MemoryLedger): boolean {
  return residency.asleep && holds.size === 0 && !cordoned && ledger.phase(spec.engineId) === 'waking';
}

function isMoving(state: EngineState): boolean {
  return state === 'falling-asleep' || state === 'waking';
}

function takesTurns(a: EngineRecord, b: EngineRecord): boolean {
  return a.spec.gpuIndices.some((gpu) => b.spec.gpuIndices.includes(gpu));
}
