import type { Demand, HoldReason, ReserveResult } from '../model/fleet.js';
import type { SleepLevel } from './actions.js';
import { kvWish } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { drainVictims, idleVictims } from './evict.js';
import type { MemoryLedger } from './ledger.js';
import { beyondLent, lentBytes } from './lent.js';
import type { ReclaimContext } from './reclaim-step.js';
import { Room } from './room.js';
import { candidateOf } from './victims.js';

/** Until an elastic engine has applied a lower limit: kvcached looks at it every 100 ms. */
const SHED_MS = 150;

/** When an engine could take a stage, and what that costs others. */
export interface Readiness {
  readonly readyInMs: number;
  /** Sleeps and wakes that making room would force on other engines. */
  readonly disturbanceMs: number;
  readonly reason: HoldReason;
  /** The engines that would have to sleep. */
  readonly victims?: readonly string[];
}

const READY: Readiness = { readyInMs: 0, disturbanceMs: 0, reason: 'seats-full' };

/**
 * Expects when the engine could run: what is left of a move under way, or the wake after the sleep or the emptying of whatever must make
 * room. A forecast for scores and ETAs; the plan itself is made by `planReclaim`.
 */
export function estimateReadiness(context: ReclaimContext, record: EngineRecord, nowMs: number): Readiness {
  const { residency } = record;
  if (residency.state === 'running') return READY;
  const elapsedMs = nowMs - residency.sinceMs;
  const wakeMs = record.wakeMs();
  switch (residency.state) {
    case 'waking':
      return { readyInMs: Math.max(0, wakeMs - elapsedMs), disturbanceMs: 0, reason: 'waking' };
    case 'falling-asleep':
      return { readyInMs: leftOfSleepMs(record, nowMs) + wakeMs, disturbanceMs: 0, reason: 'falling-asleep' };
    case 'draining':
      return {
        readyInMs: drainMs(record) + record.evictionMs(context.ledger, nowMs) + wakeMs,
        disturbanceMs: 0,
        reason: 'draining',
      };
    case 'sleeping':
    case 'sleeping-deep': {
      const retryMs = Math.max(0, residency.wakeRetryAtMs - nowMs);
      const room = roomFor(context, record, nowMs);
      return { ...room, readyInMs: Math.max(retryMs, room.readyInMs) + wakeMs };
    }
    default:
      return { readyInMs: Number.POSITIVE_INFINITY, disturbanceMs: 0, reason: 'no-room' };
  }
}

/** The answer to a demand that must wait: how long about, and for what. */
export function holdAnswer(
  context: ReclaimContext,
  record: EngineRecord,
  demand: Demand,
  nowMs: number,
): Extract<ReserveResult, { kind: 'hold' }> {
  const { engineId } = record.spec;
  if (record.residency.state === 'running') {
    // A demand that would fit waits behind earlier holds, for a seat like them.
    const reason = record.fits(demand) === 'kv-full' ? 'kv-full' : 'seats-full';
    return { kind: 'hold', engineId, etaMs: record.meanLeaseMs, reason };
  }
  const { readyInMs, reason } = estimateReadiness(context, record, nowMs);
  return { kind: 'hold', engineId, etaMs: readyInMs, reason };
}

/** Until there is room for the engine, and at whose cost. */
function roomFor(context: ReclaimContext, record: EngineRecord, nowMs: number): Readiness {
  const { engines, ledger, config } = context;
  const bytes = ledger.wakeBytes(record.spec.engineId, kvWish(record, ledger).leastBytes);
  const room = new Room(context);
  if (room.missing(record, bytes, room.free).length === 0) return { readyInMs: 0, disturbanceMs: 0, reason: 'waking' };
  const need = room.missing(record, bytes, room.coming);
  if (need.length === 0) {
    let leftMs = 0;
    for (const other of engines) {
      const { state } = other.residency;
      if (state === 'falling-asleep') leftMs = Math.max(leftMs, leftOfSleepMs(other, nowMs));
      else if (state === 'draining') leftMs = Math.max(leftMs, drainMs(other) + other.evictionMs(ledger, nowMs));
    }
    return { readyInMs: leftMs, disturbanceMs: 0, reason: 'waking' };
  }
  const lent = lentBytes(
    ledger,
    engines.filter((other) => other !== record),
  );
  const rest = beyondLent(need, lent);
  if (rest.length === 0) return { readyInMs: SHED_MS, disturbanceMs: SHED_MS, reason: 'waking', victims: [] };
  const candidates = engines.filter(
    (other) => other.residency.state === 'running' && other.spec.pinned !== true && canMakeRoom(other, ledger, nowMs),
  );
  const byId = new Map(candidates.map((other) => [other.spec.engineId, other]));
  const chosen =
    idleVictims(
      config.eviction,
      rest,
      candidates.filter(({ idle }) => idle).map((other) => candidateOf(other, ledger, nowMs, lent)),
    ) ??
    drainVictims(
      config.eviction,
      rest,
      candidates.map((other) => candidateOf(other, ledger, nowMs, lent)),
    );
  if (!chosen) return { readyInMs: Number.POSITIVE_INFINITY, disturbanceMs: 0, reason: 'no-room' };
  let leftMs = 0;
  let disturbanceMs = 0;
  let reason: HoldReason = 'waking';
  for (const engineId of chosen) {
    const victim = byId.get(engineId)!;
    const sleepMs = victim.evictionMs(ledger, nowMs);
    disturbanceMs += victim.reloadMs();
    if (victim.idle) {
      leftMs = Math.max(leftMs, sleepMs);
    } else {
      reason = 'no-room';
      const residencyMs = Math.max(0, victim.residency.awakeSinceMs + victim.minResidencyMs() - nowMs);
      leftMs = Math.max(leftMs, residencyMs + drainMs(victim) + sleepMs);
    }
  }
  return { readyInMs: leftMs, disturbanceMs, reason, victims: chosen };
}

function canMakeRoom(record: EngineRecord, ledger: MemoryLedger, nowMs: number): boolean {
  return record.sleepLevel(ledger, nowMs) !== undefined;
}

function levelOf(record: EngineRecord): SleepLevel {
  return record.residency.level === 2 ? 2 : 1;
}

function leftOfSleepMs(record: EngineRecord, nowMs: number): number {
  return Math.max(0, record.durations.sleepMs(levelOf(record)) - (nowMs - record.residency.sinceMs));
}

/** Leases end one after another; the last of several is expected after about one mean length. */
function drainMs(record: EngineRecord): number {
  return record.idle ? 0 : record.meanLeaseMs;
}
