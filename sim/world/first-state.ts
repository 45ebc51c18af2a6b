import type { EngineSpec } from '../../src/model/fleet.js';

/** Engines are awake in the order of the file as long as their GPUs have room; the others begin asleep. */
export function sleepersOf(
  engines: readonly EngineSpec[],
  gpus: readonly { readonly memoryBytes: number }[],
): (engineId: string) => boolean {
  const free = gpus.map(({ memoryBytes }) => memoryBytes);
  for (const { gpuIndices, residueBytes } of engines) for (const gpu of gpuIndices) free[gpu]! -= residueBytes;
  const awake = new Set<string>();
  for (const { engineId, gpuIndices, weightBytes, workspaceBytes = 0, kvPoolBytes, sleepCapable } of engines) {
    const needed = weightBytes + workspaceBytes + kvPoolBytes;
    if (sleepCapable && gpuIndices.some((gpu) => free[gpu]! < needed)) continue;
    for (const gpu of gpuIndices) free[gpu]! -= needed;
    awake.add(engineId);
  }
  return (engineId) => !awake.has(engineId);
}
