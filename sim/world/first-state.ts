import type { EngineSpec } from '../../src/model/fleet.js';

/** Engines that cannot sleep are awake, and of the others, in the order of the file, those for which their GPUs have room beside them; the rest begins asleep. */
export function sleepersOf(
  engines: readonly EngineSpec[],
  gpus: readonly { readonly memoryBytes: number }[],
): (engineId: string) => boolean {
  const free = gpus.map(({ memoryBytes }) => memoryBytes);
  for (const { gpuIndices, residueBytes } of engines) for (const gpu of gpuIndices) free[gpu]! -= residueBytes;
  const awake = new Set<string>();
  const inOrder = [...engines].sort((a, b) => Number(a.sleepCapable) - Number(b.sleepCapable));
  for (const { engineId, gpuIndices, weightBytes, workspaceBytes = 0, kvPoolBytes, sleepCapable } of inOrder) {
    const needed = weightBytes + workspaceBytes + kvPoolBytes;
    if (sleepCapable && gpuIndices.some((gpu) => free[gpu]! < needed)) continue;
    for (const gpu of gpuIndices) free[gpu]! -= needed;
    awake.add(engineId);
  }
  return (engineId) => !awake.has(engineId);
}
