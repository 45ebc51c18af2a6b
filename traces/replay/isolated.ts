import { type StepCost, type StepShape, stepCostOf } from '../../src/engine/step-time.js';
import type { TraceRow } from '../schema.js';
import { blockTokensOf, criticalPathMs, hashRunsOf, type TraceWorkflow } from '../workflow.js';

/**
 * How long a workflow takes alone on an idle, warm fleet, by the step-time model: the denominator of slowdown. Every stage runs in a batch of
 * one; leading blocks that an earlier row of the workflow had are in the cache.
 *
 * @param shapeOf What a model runs on; undefined where that is not known, which leaves the whole workflow without an answer.
 */
export function isolatedDuration(
  shapeOf: (model: string) => StepShape | undefined,
): (workflow: TraceWorkflow) => number | undefined {
  const costs = new Map<string, StepCost | undefined>();
  const costOf = (model: string) => {
    if (!costs.has(model)) {
      const shape = shapeOf(model);
      costs.set(model, shape && stepCostOf(shape));
    }
    return costs.get(model);
  };
  return (workflow) => {
    const cached = cachedTokens(workflow.rows);
    let known = true;
    const durationMs = criticalPathMs(workflow, (row) => {
      const cost = row.model === undefined ? undefined : costOf(row.model);
      known &&= cost !== undefined;
      return cost ? stageMs(cost, row, cached.get(row.request_id) ?? 0) : 0;
    });
    return known ? durationMs : undefined;
  };
}

/** One prefill of what is not cached, then one step a token. */
function stageMs(cost: StepCost, row: TraceRow, cachedTokens: number): number {
  // Servers end an answer at its limit, whatever was recorded.
  const outputTokens = Math.min(row.output_length, row.max_tokens ?? Number.POSITIVE_INFINITY);
  return (
    cost.prefillMs(Math.max(1, row.input_length), cachedTokens) +
    cost.decodeRunMs(1, row.input_length, Math.max(0, outputTokens - 1))
  );
}

/** Tokens of each row's leading blocks that an earlier row with the same model had. */
function cachedTokens(rows: readonly TraceRow[]): Map<string, number> {
  const seenByModel = new Map<string | undefined, Set<number>>();
  const cached = new Map<string, number>();
  for (const row of rows) {
    let seen = seenByModel.get(row.model);
    if (!seen) {
      seen = new Set();
      seenByModel.set(row.model, seen);
    }
    let hits = 0;
    let leading = true;
    for (const [firstId, count] of hashRunsOf(row)) {
      for (let id = firstId; id < firstId + count; id++) {
        leading &&= seen.has(id);
        if (leading) hits += 1;
        else seen.add(id);
      }
    }
    cached.set(row.request_id, Math.min(hits * blockTokensOf(row), Math.max(0, row.input_length - 1)));
  }
  return cached;
}
