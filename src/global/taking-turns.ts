import type { EngineSpec, NodeSpec } from '../model/fleet.js';

/** Models that cannot all be awake at once on one of their GPUs, so that they take turns. Of engines whose GPUs are not known nothing is said. */
export function modelsTakingTurns(nodes: readonly NodeSpec[]): Set<string> {
  const models = new Set<string>();
  for (const { gpus, engines } of nodes) {
    gpus.forEach(({ memoryBytes }, index) => {
      const here = engines.filter(({ gpuIndices }) => gpuIndices.includes(index));
      const awakeBytes = here.reduce((sum, engine) => sum + bytesAwake(engine), 0);
      const modelsHere = new Set(here.map(({ model }) => model));
      if (modelsHere.size > 1 && awakeBytes > memoryBytes) for (const model of modelsHere) models.add(model);
    });
  }
  return models;
}

function bytesAwake({ weightBytes, kvPoolBytes, residueBytes, workspaceBytes = 0 }: EngineSpec): number {
  return weightBytes + kvPoolBytes + residueBytes + workspaceBytes;
}
