import type { GpuSpec } from '../model/gpu.js';
import { findGpu } from '../model/gpu-catalogue.js';
import type { LlmSpec } from '../model/llm.js';
import { findLlm } from '../model/llm-catalogue.js';
import type { MaestroConfig } from './schema.js';

/** The built-in models and GPUs with those that the config adds; an own entry hides a built-in one of the same name. */
export interface Catalogue {
  llm(name: string): LlmSpec | undefined;
  gpu(name: string): GpuSpec | undefined;
}

export function catalogueOf(config: Pick<MaestroConfig, 'models' | 'gpus'>): Catalogue {
  const models = new Map<string, LlmSpec>(config.models.map((llm) => [llm.name, llm]));
  const gpus = new Map<string, GpuSpec>(config.gpus.map((gpu) => [gpu.name, gpu]));
  return {
    llm: (name) => models.get(name) ?? findLlm(name),
    gpu: (name) => gpus.get(name) ?? findGpu(name),
  };
}
