import type { EngineState } from '../model/fleet.js';
import { ClaimPlan } from './claim-plan.js';
import { kvWish, wantsToGrow } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { firstSleepStep } from './first-sleep.js';
import { NOT_PAUSED } from './holds.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import { Room } from './room.js';
import { planStarts } from './start-room.js';

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
  const { engines, ledger } = context;
  const room = new Room(context);
  const starts = planStarts(context, room, nowMs);
  const retries = retriedWakes(context, nowMs);
  const targets = engines
    .filter((record) => (record.residency.asleep && record.holds.size > 0) || wantsToGrow(record))
    .map((record) => ({ record, claimKey: record.claimKey() }))
    .sort((a, b) => a.claimKey - b.claimKey);
  const steps: ReclaimStep[] = [...starts.steps, ...retries.steps];
  const nextMs = Math.min(starts.nextMs, retries.nextMs);
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
  const claims = new ClaimPlan(context, room, starts, nowMs);
  for (const { record, claimKey } of targets) claims.serve(record, claimKey);
  claims.settle();
  return { steps: [...steps, ...claims.steps], nextMs: Math.min(nextMs, claims.nextMs) };
}

/**
 * Wakes that have failed and that nobody waits for any more. They are tried again all the same: the memory stays charged until the engine has been awake, and others may
 * wait for that.
 */
function retriedWakes({ engines, ledger }: ReclaimContext, nowMs: number): ReclaimPlan {
  const steps: ReclaimStep[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  for (const record of engines) {
    const { residency, holds, takesNothing, spec } = record;
    if (!residency.asleep || holds.size > 0 || takesNothing || ledger.phase(spec.engineId) !== 'waking') continue;
    if (nowMs < residency.wakeRetryAtMs) nextMs = Math.min(nextMs, residency.wakeRetryAtMs);
    else steps.push({ kind: 'wake', record, kvBytes: ledger.kvBytes(spec.engineId) });
  }
  return { steps, nextMs };
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
    if (record.takesNothing || !record.residency.asleep || nowMs < record.residency.wakeRetryAtMs) continue;
    const expected = record.expectedUses(nowMs);
    if (expected < most) continue;
    const bytes = ledger.wakeBytes(record.spec.engineId, kvWish(record, ledger).leastBytes);
    if (room.missing(record, bytes, room.free).length > 0 || !context.roomConfirmed(record, bytes, nowMs)) continue;
    most = expected;
    best = record;
  }
  return best;
}

function isMoving(state: EngineState): boolean {
  return state === 'falling-asleep' || state === 'waking';
}
