import type { NodeConfig } from './config.js';
import type { EngineRecord } from './engine-record.js';
import { drainVictims, type EvictionCandidate, idleVictims } from './evict.js';
import type { Hold } from './holds.js';
import type { GpuNeed, MemoryLedger } from './ledger.js';
import { type LentBytes, NOTHING_LENT } from './lent.js';

export interface VictimContext {
  readonly ledger: MemoryLedger;
  readonly config: NodeConfig;
}

/** What somebody has to sleep for. */
export interface Claim {
  /** The first stage that waits for it, and the place in the order of the most urgent one that it serves. */
  readonly hold: Hold;
  readonly claimKey: number;
  /** What is missing when all that is lent has been given back. */
  readonly need: readonly GpuNeed[];
  readonly lent: LentBytes;
}

/** Idle engines by the eviction policy; where they do not suffice, idle and due busy ones. Undefined when neither makes enough room. */
export function chooseVictims(
  { ledger, config }: VictimContext,
  claim: Claim,
  others: readonly EngineRecord[],
  nowMs: number,
): EngineRecord[] | undefined {
  const { need, lent } = claim;
  const byId = new Map<string, EngineRecord>();
  const idle: EvictionCandidate[] = [];
  const dueBusy: EvictionCandidate[] = [];
  for (const record of others) {
    if (!need.some(({ gpu }) => record.spec.gpuIndices.includes(gpu))) continue;
    if (record.spec.pinned === true || record.sleepLevel(ledger, nowMs) === undefined) continue;
    byId.set(record.spec.engineId, record);
    if (record.idle) idle.push(candidateOf(record, ledger, nowMs, lent));
    else if (isDue(claim, record, config, nowMs)) dueBusy.push(candidateOf(record, ledger, nowMs, lent));
  }
  const chosen =
    idleVictims(config.eviction, need, idle) ??
    (dueBusy.length > 0 ? drainVictims(config.eviction, need, [...idle, ...dueBusy]) : undefined);
  return chosen?.map((engineId) => byId.get(engineId)!);
}

/** @param lent What the need that the candidate is to cover has left out already. */
export function candidateOf(
  record: EngineRecord,
  ledger: MemoryLedger,
  nowMs: number,
  lent: LentBytes = NOTHING_LENT,
): EvictionCandidate {
  const { engineId, gpuIndices } = record.spec;
  return {
    engineId,
    gpuIndices,
    bytesFreed: ledger.sleepFreesBytes(engineId) - (lent.get(record) ?? 0),
    leases: record.reservations.leases,
    lastUsedMs: record.lastUsedMs,
    lastGrantOrderKey: record.lastGrantOrderKey,
    reloadMs: record.reloadMs(),
    uses: record.use.uses,
    expectedUses: record.expectedUses(nowMs),
  };
}

/** When the target's holds will have waited as long together as the eviction of the idle victims is expected to make others wait. */
export function rentPaidMs(
  { ledger, config }: VictimContext,
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
 * May this claim empty that busy engine? Only after the engine's least residency, which also keeps two engines from changing places
 * for ever, and only if the claim comes earlier in the global order than what the engine was given last, or the hold has waited very long.
 */
function isDue({ hold, claimKey }: Claim, victim: EngineRecord, config: NodeConfig, nowMs: number): boolean {
  if (nowMs - victim.residency.awakeSinceMs < victim.minResidencyMs()) return false;
  return claimKey < victim.lastGrantOrderKey || nowMs - hold.sinceMs >= config.maxHoldWaitMs;
}

/** The next moment at which the passing of time alone makes a busy engine due, or an engine's failed sleep may be tried again. */
export function earliestDueMs(
  { config }: VictimContext,
  { hold, need }: Claim,
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
