import { StepCost, type StepShape } from '../engine/step-time.js';
import { catalogueOf } from './catalogue.js';
import type { MaestroConfig } from './schema.js';
import { sizeEngine } from './sizing.js';

/** The batch in which a call usually decodes: service times are of a fleet at work, not of an idle one. */
const TYPICAL_BATCH = 8;

/** What serves each model, by served name; of several engines of a model the first counts. Models of which nothing is known are left out. */
export function stepShapes(config: MaestroConfig): ReadonlyMap<string, StepShape> {
  const catalogue = catalogueOf(config);
  const shapes = new Map<string, StepShape>();
  for (const node of config.fleet.nodes) {
    for (const engine of node.engines) {
      const sizing = sizeEngine(engine, node, catalogue);
      const model = engine.servedName ?? engine.model;
      if (!sizing || shapes.has(model)) continue;
      const { llm, gpu, tp } = sizing;
      shapes.set(model, { llm, gpu, tp, weightDtype: engine.dtype, kvDtype: engine.kvDtype });
    }
  }
  return shapes;
}

/** Service time of a call in milliseconds, from the step-time model; undefined for models of which nothing is known. */
export function serviceTimes(
  shapes: ReadonlyMap<string, StepShape>,
): (model: string, promptTokens: number, cachedTokens: number, outputTokens: number) => number | undefined {
  const costs = new Map([...shapes].map(([model, shape]) => [model, new StepCost(shape)]));
  return (model, promptTokens, cachedTokens, outputTokens) => {
    const cost = costs.get(model);
    if (!cost) return undefined;
    const stepMs = cost.decodeMs(TYPICAL_BATCH, promptTokens + outputTokens / 2);
    return cost.prefillMs(promptTokens, cachedTokens) + outputTokens * stepMs;
  };
}
