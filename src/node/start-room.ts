import type { EngineRecord } from './engine-record.js';
import { drainVictims, idleVictims } from './evict.js';
import type { GpuNeed } from './ledger.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import type { Room } from './room.js';
import { candidateOf } from './victims.js';

export interface StartPlan {
  readonly steps: readonly ReclaimStep[];
  /** Processes for which room is being made. */
  readonly waiting: readonly EngineRecord[];
  readonly nextMs: number;
}

/**
 * Room for processes that are to start: vLLM takes all of its memory while it starts, and fails where that is not free. First come, first served; room that is being made
 * for one is given to nobody else. Idle neighbours go to sleep; busy ones are emptied once the start has waited as long as a hold would and somebody wants the model. Where nobody can
 * make room, it is let start after twice that time: our account may be wrong, and vLLM says best whether it is.
 */
export function planStarts(context: ReclaimContext, room: Room, nowMs: number): StartPlan {
  const { engines, ledger, config } = context;
  const steps: ReclaimStep[] = [];
  const waiting: EngineRecord[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  const starts = engines
    .filter((record) => record.startWantedAtMs !== undefined && ledger.phase(record.spec.engineId) === 'absent')
    .sort((a, b) => a.startWantedAtMs! - b.startWantedAtMs!);
  for (const record of starts) {
    const startBytes = ledger.startBytes(record.spec.engineId);
    // Room for its residue is kept anyway.
    const bytes = startBytes - ledger.residueBytes(record.spec.engineId);
    const dueMs = record.startWantedAtMs! + config.maxHoldWaitMs;
    const hopelessMs = dueMs + config.maxHoldWaitMs;
    if (room.missing(record, bytes, room.free).length === 0) {
      room.claim(record, bytes);
      if (context.roomConfirmed(record, startBytes, nowMs) || nowMs >= hopelessMs)
        steps.push({ kind: 'start', record });
      else nextMs = Math.min(nextMs, nowMs + config.telemetryMaxAgeMs);
      continue;
    }
    const need = room.missing(record, bytes, room.coming);
    const { queued, expected } = config.demand(record.spec.model);
    const victims = victimsOf(context, record, need, nowMs >= dueMs && queued + expected > 0, nowMs);
    if (victims === 'nobody') {
      if (nowMs >= hopelessMs) steps.push({ kind: 'start', record });
      else nextMs = Math.min(nextMs, hopelessMs);
      continue;
    }
    if (need.length > 0 && victims.length === 0) {
      // Nobody is idle. Others may use what is free meanwhile; whether somebody wants the model is not told, but looked at now and then.
      nextMs = Math.min(nextMs, Math.max(dueMs, nowMs + config.telemetryMaxAgeMs));
      continue;
    }
    for (const victim of victims) {
      room.willFree(victim, ledger.sleepFreesBytes(victim.spec.engineId));
      if (victim.idle) steps.push({ kind: 'sleep', record: victim, hurried: false });
      else steps.push({ kind: 'drain', record: victim });
    }
    waiting.push(record);
    room.claim(record, bytes);
  }
  return { steps, waiting, nextMs };
}

/** Whom the start displaces now: none where what is under way suffices or is to be waited for; `nobody` where all together could not make the room. */
function victimsOf(
  { engines, ledger, config }: ReclaimContext,
  start: EngineRecord,
  need: readonly GpuNeed[],
  due: boolean,
  nowMs: number,
): readonly EngineRecord[] | 'nobody' {
  if (need.length === 0) return [];
  const able = engines.filter(
    (record) =>
      record !== start &&
      record.residency.state === 'running' &&
      record.spec.pinned !== true &&
      record.sleepLevel(ledger, nowMs) !== undefined &&
      need.some(({ gpu }) => record.spec.gpuIndices.includes(gpu)),
  );
  const candidates = able.map((record) => candidateOf(record, ledger, nowMs));
  const idle = candidates.filter(({ leases }) => leases === 0);
  const all = drainVictims(config.eviction, need, candidates);
  if (!all) return 'nobody';
  const chosen = idleVictims(config.eviction, need, idle) ?? (due ? all : []);
  return chosen.map((engineId) => able.find(({ spec }) => spec.engineId === engineId)!);
}
