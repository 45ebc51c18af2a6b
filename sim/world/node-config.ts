import type { EngineSpec } from '../../src/model/fleet.js';
import type { NodeConfig } from '../../src/node/config.js';
import { EVICTION_POLICIES, type EvictionPolicy } from '../../src/node/evict.js';
import type { NextModels } from '../../src/predict/next-models.js';
import type { SimScenario } from '../types.js';
import type { GlobalLevel } from './global-level.js';
import { oracleResidency } from './next-uses.js';

/** The settings of every node of a run. */
export function nodeConfigOf(
  {
    lookAhead,
    minResidencyMs,
    nodes,
    node: { weights = 'lru', prefetch = true, pooledKv = true, firstSleep = true } = {},
  }: SimScenario,
  global: Pick<GlobalLevel, 'waitingFor'>,
  nextModels: NextModels | undefined,
  /** Of `oracle-residency` alone: milliseconds until the model is asked for next. */
  nextUseInMs: (model: string) => number | undefined,
): Partial<NodeConfig> {
  const foreseeing = () => {
    const engines = nodes.flatMap((node) => node.engines);
    const modelOf = new Map(engines.map(({ engineId, model }: EngineSpec) => [engineId, model]));
    return oracleResidency((engineId) => nextUseInMs(modelOf.get(engineId)!)!);
  };
  const eviction: EvictionPolicy = weights === 'oracle-residency' ? foreseeing() : EVICTION_POLICIES[weights];
  return {
    lookAhead,
    minResidencyMs,
    prefetch,
    pooledKv,
    firstSleep,
    eviction,
    demand: (model) => ({ queued: global.waitingFor(model)?.size ?? 0, expected: nextModels?.expected(model) ?? 0 }),
    firstWaitingKey: (model) => global.waitingFor(model)?.firstKey() ?? Number.POSITIVE_INFINITY,
  };
}
