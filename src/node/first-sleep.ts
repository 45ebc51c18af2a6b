import type { EngineSpec } from '../model/fleet.js';
import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';
import type { Room } from './room.js';

/**
 * The first level-1 sleep of a process pins its host memory, which takes several times as long as any later one. So an engine that shares its GPUs with more than fits them is put
 * to sleep once and woken again after its start, before its first stage, one engine of the node at a time, while nobody waits and nothing else moves. Undefined where there is nothing
 * to do.
 */
export function firstSleepStep(context: ReclaimContext, room: Room, nowMs: number): ReclaimStep | undefined {
  const { engines, ledger, config } = context;
  if (!config.firstSleep) return undefined;
  const moving = engines.some(
    ({ residency, spec, startWantedAtMs }) =>
      residency.state === 'falling-asleep' ||
      startWantedAtMs !== undefined ||
      // It wakes, or its process starts and takes its memory.
      ledger.phase(spec.engineId) === 'waking',
  );
  if (moving) return undefined;
  for (const record of engines) {
    if (!record.cycling || !record.residency.asleep || nowMs < record.residency.wakeRetryAtMs) continue;
    const kvBytes = ledger.kvBytes(record.spec.engineId);
    const bytes = ledger.wakeBytes(record.spec.engineId, kvBytes);
    if (room.missing(record, bytes, room.free).length > 0 || !context.roomConfirmed(record, bytes, nowMs)) continue;
    return { kind: 'wake', record, kvBytes };
  }
  for (const record of engines) {
    const { spec, residency } = record;
    if (residency.state !== 'running' || record.usedSinceStart || record.takesNothing || spec.pinned === true) continue;
    // What waits in the queue for its model is about to come.
    if (config.demand(spec.model).queued > 0) continue;
    // Leases of a process before this one may still be open.
    if (!record.idle) continue;
    if (record.durations.hostCopyPinned || record.sleepLevel(ledger, nowMs) !== 1) continue;
    const crowded = isCrowded(
      spec,
      engines.map((other) => other.spec),
      (gpu) => ledger.gpuCapacity(gpu),
    );
    if (!crowded) continue;
    return { kind: 'first-sleep', record };
  }
  return undefined;
}

/** Do the engines of one of its GPUs take more than it has, all awake, so that some have to sleep? */
export function isCrowded(
  spec: EngineSpec,
  engines: readonly EngineSpec[],
  gpuBytes: (gpu: number) => number,
): boolean {
  return spec.gpuIndices.some((gpu) => {
    let bytes = 0;
    for (const { gpuIndices, residueBytes, weightBytes, workspaceBytes = 0, kvPoolBytes } of engines) {
      if (gpuIndices.includes(gpu)) bytes += residueBytes + weightBytes + workspaceBytes + kvPoolBytes;
    }
    return bytes > gpuBytes(gpu);
  });
}
