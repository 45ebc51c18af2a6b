import { type StepShape, stepCostOf } from './step-time.js';

/** The batch in which a call usually decodes: service times are of a fleet at work, not of an idle one. */
const TYPICAL_BATCH = 8;

/** Service time of a call in milliseconds, from the step-time model; undefined for models of which nothing is known. */
export function serviceTimes(
  shapes: ReadonlyMap<string, StepShape>,
): (model: string, promptTokens: number, cachedTokens: number, outputTokens: number) => number | undefined {
  const costs = new Map([...shapes].map(([model, shape]) => [model, stepCostOf(shape)]));
  return (model, promptTokens, cachedTokens, outputTokens) => {
    const cost = costs.get(model);
    if (!cost) return undefined;
    const stepMs = cost.decodeMs(TYPICAL_BATCH, promptTokens + outputTokens / 2);
    return cost.prefillMs(promptTokens, cachedTokens) + outputTokens * stepMs;
  };
}
