import type { EngineState } from '../model/fleet.js';
import type { SleepLevel } from './actions.js';
import type { NodeConfig } from './config.js';
import type { EngineRecord } from './engine-record.js';
import { drainVictims, type EvictionCandidate, idleVictims } from './evict.js';
import type { Hold } from './holds.js';
import type { GpuNeed, MemoryLedger } from './ledger.js';

export interface ReclaimContext {
  readonly engines: readonly EngineRecord[];
  readonly ledger: MemoryLedger;
  readonly config: NodeConfig;
  /** Does the device itself show room for this engine's wake? */
  readonly roomConfirmed: (record: EngineRecord, nowMs: number) => boolean;
  /** HBM of a GPU that is taken outside the ledger. */
  readonly foreignBytes: (gpu: number) => number;
}

export type ReclaimStep =
  | { readonly kind: 'wake'; readonly record: EngineRecord }
  | { readonly kind: 'sleep'; readonly record: EngineRecord; readonly level: SleepLevel }
  | { readonly kind: 'drain' | 'undrain'; readonly record: EngineRecord };

export interface ReclaimPlan {
  readonly steps: readonly ReclaimStep[];
  /** When to plan again if nothing happens before; Infinity when only events can change the plan. */
  readonly nextMs: number;
}

/** HBM per GPU: free now, and free once all sleeps and drains under way are done. */
export class Room {
  readonly free: number[] = [];
  readonly coming: number[] = [];

  constructor({ engines, ledger, foreignBytes }: ReclaimContext) {
    for (let gpu = 0; gpu < ledger.gpuCount; gpu++) {
      const freeBytes = ledger.gpuFreeBytes(gpu) - foreignBytes(gpu);
      this.free.push(freeBytes);
      this.coming.push(freeBytes);
    }
    for (const record of engines) {
      const { state } = record.residency;
      if (state === 'falling-asleep' || state === 'draining') this.willFree(record, ledger);
    }
  }

  willFree(record: EngineRecord, ledger: MemoryLedger): void {
    const bytes = ledger.sleepFreesBytes(record.spec.engineId);
    for (const gpu of record.spec.gpuIndices) this.coming[gpu]! += bytes;
  }

  claim(record: EngineRecord, bytes: number): void {
    for (const gpu of record.spec.gpuIndices) {
      this.free[gpu]! -= bytes;
      this.coming[gpu]! -= bytes;
    }
  }

  /** What is missing on each GPU of the engine for `bytes` more. */
  missing(record: EngineRecord, bytes: number, room: readonly number[]): GpuNeed[] {
    const need: GpuNeed[] = [];
    for (const gpu of record.spec.gpuIndices) {
      if (room[gpu]! < bytes) need.push({ gpu, bytes: bytes - room[gpu]! });
    }
    return need;
  }
}

/**
 * What to wake, put to sleep and empty for the stages that are held, most urgent hold first. Idle engines make room at once. A busy one is never put
 * to sleep: it is marked `draining` when a hold is due (see {@link isDue}), takes no new work, and sleeps when its last lease has ended. Room that a
 * more urgent hold waits for is not given to a later one.
 */
export function planReclaim(context: ReclaimContext, nowMs: number): ReclaimPlan {
  const { engines, ledger, config } = context;
  const steps: ReclaimStep[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  const targets = engines
    .filter(({ residency, holds }) => residency.asleep && holds.size > 0)
    .sort((a, b) => a.holds.first()!.demand.orderKey - b.holds.first()!.demand.orderKey);
  const draining = engines.some(({ residency }) => residency.state === 'draining');
  const room = new Room(context);
  if (targets.length === 0 && !draining) {
    const early = prefetchTarget(context, room, nowMs);
    if (early) steps.push({ kind: 'wake', record: early });
    return { steps, nextMs };
  }
  const leaving = new Set<EngineRecord>();
  const wantedDrains = new Set<EngineRecord>();
  for (const target of targets) {
    if (nowMs < target.residency.wakeRetryAtMs) {
      nextMs = Math.min(nextMs, target.residency.wakeRetryAtMs);
      continue;
    }
    const bytes = ledger.wakeBytes(target.spec.engineId);
    if (room.missing(target, bytes, room.free).length === 0) {
      room.claim(target, bytes);
      if (context.roomConfirmed(target, nowMs)) steps.push({ kind: 'wake', record: target });
      else nextMs = Math.min(nextMs, nowMs + config.telemetryMaxAgeMs);
      continue;
    }
    const need = room.missing(target, bytes, room.coming);
    const others = engines.filter((record) => !leaving.has(record) && record.residency.state === 'running');
    const victims = need.length === 0 ? [] : chooseVictims(context, target.holds.first()!, need, others, nowMs);
    if (!victims) {
      nextMs = Math.min(nextMs, earliestDueMs(context, target.holds.first()!, need, others, nowMs));
      continue;
    }
    const paidMs = rentPaidMs(context, target, victims, nowMs);
    if (paidMs > nowMs) {
      nextMs = Math.min(nextMs, paidMs);
      continue;
    }
    for (const victim of victims) {
      leaving.add(victim);
      room.willFree(victim, ledger);
      const level = victim.sleepLevel(ledger, nowMs)!;
      if (victim.idle) steps.push({ kind: 'sleep', record: victim, level });
      else steps.push({ kind: 'drain', record: victim });
    }
    room.claim(target, bytes);
    for (const record of engines) {
      if (record.residency.state === 'draining' && sharesGpu(record, target)) wantedDrains.add(record);
    }
  }

  for (const record of engines) {
    if (record.residency.state !== 'draining') continue;
    if (!wantedDrains.has(record)) steps.push({ kind: 'undrain', record });
    else if (record.idle) {
      const level = record.sleepLevel(ledger, nowMs);
      if (level) steps.push({ kind: 'sleep', record, level });
      else steps.push({ kind: 'undrain', record });
    }
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
    if (!record.residency.asleep || nowMs < record.residency.wakeRetryAtMs) continue;
    const expected = record.expectedUses(nowMs);
    if (expected < most) continue;
    if (room.missing(record, ledger.wakeBytes(record.spec.engineId), room.free).length > 0) continue;
    if (!context.roomConfirmed(record, nowMs)) continue;
    most = expected;
    best = record;
  }
  return best;
}

function isMoving(state: EngineState): boolean {
  return state === 'falling-asleep' || state === 'waking';
}

/** Idle engines by the eviction policy; where they do not suffice, idle and due busy ones. Undefined when neither makes enough room. */
function chooseVictims(
  { ledger, config }: ReclaimContext,
  hold: Hold,
  need: readonly GpuNeed[],
  others: readonly EngineRecord[],
  nowMs: number,
): EngineRecord[] | undefined {
  const byId = new Map<string, EngineRecord>();
  const idle: EvictionCandidate[] = [];
  const dueBusy: EvictionCandidate[] = [];
  for (const record of others) {
    if (!need.some(({ gpu }) => record.spec.gpuIndices.includes(gpu))) continue;
    if (record.spec.pinned === true || record.sleepLevel(ledger, nowMs) === undefined) continue;
    byId.set(record.spec.engineId, record);
    if (record.idle) idle.push(candidateOf(record, ledger, nowMs));
    else if (isDue(hold, record, config, nowMs)) dueBusy.push(candidateOf(record, ledger, nowMs));
  }
  const chosen =
    idleVictims(config.eviction, need, idle) ??
    (dueBusy.length > 0 ? drainVictims(config.eviction, need, [...idle, ...dueBusy]) : undefined);
  return chosen?.map((engineId) => byId.get(engineId)!);
}

export function candidateOf(record: EngineRecord, ledger: MemoryLedger, nowMs: number): EvictionCandidate {
  const { engineId, gpuIndices } = record.spec;
  return {
    engineId,
    gpuIndices,
    bytesFreed: ledger.sleepFreesBytes(engineId),
    leases: record.reservations.leases,
    lastUsedMs: record.lastUsedMs,
    lastGrantOrderKey: record.lastGrantOrderKey,
    reloadMs: record.reloadMs(),
    uses: record.use.uses,
    expectedUses: record.expectedUses(nowMs),
  };
}

/** When the target's holds will have waited as long together as the eviction of the idle victims is expected to make others wait. */
function rentPaidMs(
  { ledger, config }: ReclaimContext,
  { holds }: EngineRecord,
  victims: readonly EngineRecord[],
  nowMs: number,
): number {
  let priceMs = 0;
  for (const victim of victims) {
    if (victim.idle) priceMs += config.eviction.costMs(candidateOf(victim, ledger, nowMs));
  }
  const waitedMs = nowMs - holds.first()!.sinceMs;
  const owedMs = Math.min((priceMs - holds.waitedMs(nowMs)) / holds.size, config.maxHoldWaitMs - waitedMs);
  return nowMs + Math.max(0, owedMs);
}

/**
 * May this hold empty that busy engine? Only after the engine's least residency, which also keeps two engines from changing places
 * for ever, and only if the hold comes earlier in the global order than what the engine was given last, or has waited very long.
 */
function isDue(hold: Hold, victim: EngineRecord, config: NodeConfig, nowMs: number): boolean {
  if (nowMs - victim.residency.awakeSinceMs < victim.minResidencyMs()) return false;
  return hold.demand.orderKey < victim.lastGrantOrderKey || nowMs - hold.sinceMs >= config.maxHoldWaitMs;
}

/** The next moment at which the passing of time alone makes a busy engine due, or an engine's failed sleep may be tried again. */
function earliestDueMs(
  { config }: ReclaimContext,
  hold: Hold,
  need: readonly GpuNeed[],
  others: readonly EngineRecord[],
  nowMs: number,
): number {
  let earliestMs = Number.POSITIVE_INFINITY;
  for (const record of others) {
    if (!need.some(({ gpu }) => record.spec.gpuIndices.includes(gpu))) continue;
    const residentMs = record.residency.awakeSinceMs + record.minResidencyMs();
    const waitedMs = hold.sinceMs + config.maxHoldWaitMs;
    for (const atMs of [residentMs, Math.max(residentMs, waitedMs), record.residency.sleepRetryAtMs]) {
      if (atMs > nowMs) earliestMs = Math.min(earliestMs, atMs);
    }
  }
  return earliestMs;
}

function sharesGpu(a: EngineRecord, b: EngineRecord): boolean {
  return a.spec.gpuIndices.some((gpu) => b.spec.gpuIndices.includes(gpu));
}
