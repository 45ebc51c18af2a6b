import type { EngineSpec } from '../model/fleet.js';

/** Models with an engine on a GPU that has an engine of another model too. Of engines whose GPUs are not known nothing is said. */
export function modelsOnSharedGpus(engines: readonly EngineSpec[]): Set<string> {
  const modelsOf = new Map<string, Set<string>>();
  for (const { nodeId, gpuIndices, model } of engines) {
    for (const index of gpuIndices) {
      const gpu = `${nodeId}\n${index}`;
      const models = modelsOf.get(gpu);
      if (models) models.add(model);
      else modelsOf.set(gpu, new Set([model]));
    }
  }
  return new Set([...modelsOf.values()].filter(({ size }) => size > 1).flatMap((models) => [...models]));
}
