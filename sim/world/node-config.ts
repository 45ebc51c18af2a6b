import type { ModelDemand, NodeConfig } from '../../src/node/config.js';
import { EVICTION_POLICIES } from '../../src/node/evict.js';
import type { SimScenario } from '../types.js';

/** The settings of every node of a run. */
export function nodeConfigOf(
  { lookAhead, minResidencyMs, node: { weights = 'value', prefetch = true } = {} }: SimScenario,
  demand: (model: string) => ModelDemand,
): Partial<NodeConfig> {
  return { lookAhead, minResidencyMs, prefetch, eviction: EVICTION_POLICIES[weights], demand };
}
