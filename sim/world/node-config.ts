import type { NodeConfig } from '../../src/node/config.js';
import { EVICTION_POLICIES } from '../../src/node/evict.js';
import type { NextModels } from '../../src/predict/next-models.js';
import type { SimScenario } from '../types.js';

/** The settings of every node of a run. */
export function nodeConfigOf(
  { lookAhead, minResidencyMs, node: { weights = 'value', prefetch = true, pooledKv = true } = {} }: SimScenario,
  queued: (model: string) => number,
  nextModels: NextModels | undefined,
): Partial<NodeConfig> {
  return {
    lookAhead,
    minResidencyMs,
    prefetch,
    pooledKv,
    eviction: EVICTION_POLICIES[weights],
    demand: (model) => ({ queued: queued(model), expected: nextModels?.expected(model) ?? 0 }),
  };
}
