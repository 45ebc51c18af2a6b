import { BatchEngine } from './batch-engine.js';
import type { BatchEngineConfig, Engine } from './batch-types.js';
import { IndependentRanks } from './independent-ranks.js';

/** The engine of a config, with all its data-parallel ranks: those of a mixture of experts step together, those of a dense model are replicas. */
export function newEngine(config: BatchEngineConfig): Engine {
  const { llm, dataParallel = 1 } = config;
  return dataParallel > 1 && !llm.moe ? new IndependentRanks(config) : new BatchEngine(config);
}
