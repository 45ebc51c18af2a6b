import { StepCost } from '../engine/step-time.js';
import { catalogueOf } from './catalogue.js';
import type { MaestroConfig } from './schema.js';
import { sizeEngine } from './sizing.js';

/** Mean of the batch in which a call decodes: service times are of a fleet at work, not of an idle one. */
const TYPICAL_BATCH = 8;

/**
 * Service time of a call by served model, from the step-time model; undefined for models of which nothing is known. Of several
 * engines of a model the first counts.
 */
export function serviceTimes(
  config: MaestroConfig,
): (model: string, promptTokens: number, cachedTokens: number, outputTokens: number) => number | undefined {
  const catalogue = catalogueOf(config);
  const costs = new Map<string, StepCost>();
  for (const node of config.fleet.nodes) {
    for (const engine of node.engines) {
      const sizing = sizeEngine(engine, node, catalogue);
      const model = engine.servedName ?? engine.model;
      if (!sizing || costs.has(model)) continue;
      const { llm, gpu, tp } = sizing;
      costs.set(model, new StepCost({ llm, gpu, tp, weightDtype: engine.dtype, kvDtype: engine.kvDtype }));
    }
  }
  return (model, promptTokens, cachedTokens, outputTokens) => {
    const cost = costs.get(model);
    if (!cost) return undefined;
    const stepMs = cost.decodeMs(TYPICAL_BATCH, promptTokens + outputTokens / 2);
    return cost.prefillMs(promptTokens, cachedTokens) + outputTokens * stepMs;
  };
}
