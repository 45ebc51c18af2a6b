import type { EngineSpec } from '../model/fleet.js';
import type { StepShape } from './step-time.js';

/** What the steps of an engine cost by; undefined where its model or GPU is not known. */
export function stepShapeOf(
  spec: Pick<EngineSpec, 'llm' | 'gpu' | 'gpuIndices' | 'dataParallel' | 'weightDtype' | 'kvDtype'>,
): StepShape | undefined {
  const { llm, gpu, gpuIndices, dataParallel = 1, weightDtype = 'bf16', kvDtype = 'bf16' } = spec;
  if (!llm || !gpu) return undefined;
  return { llm, gpu, tp: Math.max(1, gpuIndices.length), dataParallel, weightDtype, kvDtype };
}
