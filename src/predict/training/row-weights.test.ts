import { describe, expect, it } from 'vitest';
import { traceCalls } from '../../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../../test/prediction-trace.js';
import { joinHistories } from '../examples.js';
import { trainingTable } from '../training-table.js';
import { rowWeights, workflowShares } from './row-weights.js';

// Ninety workflows of four calls, and forty of which every other one has but its first.
const many = traceCalls(predictionTrace(90, 'many'));
const mixed = traceCalls(
  predictionTrace(40, 'mixed').filter(({ request_id }) => {
    const [task, step] = request_id.replace('mixed-', '').split('/').map(Number);
    return task! % 2 === 0 || step === 0;
  }),
);
const history = joinHistories([many, mixed]);
const table = trainingTable(history);
const sumsBy = (weights: Float64Array, nameOf: (row: number) => string) => {
  const sums = new Map<string, number>();
  weights.forEach((weight, row) => {
    sums.set(nameOf(row), (sums.get(nameOf(row)) ?? 0) + weight);
  });
  return sums;
};
const stageOf = (row: number) => history.calls[table.calls[row]!]!.stage;

describe('row weights', () => {
  it('let a template count by the square root of its calls, whatever its rows weigh among each other', () => {
    const ones = new Float64Array(table.matrix.rows).fill(1);
    for (const shares of [ones, workflowShares(table, history)]) {
      const sums = sumsBy(rowWeights(table, history, shares), (row) => stageOf(row).template);
      expect(sums.get('many')! / sums.get('mixed')!).toBeCloseTo(Math.sqrt((90 * 4) / (20 * 4 + 20)), 6);
      expect(sums.get('many')! + sums.get('mixed')!).toBeCloseTo(table.matrix.rows, 6);
    }
  });

  it('let each workflow of a template count once, however many calls it has', () => {
    const weights = rowWeights(table, history, workflowShares(table, history));
    const sums = sumsBy(weights, (row) => stageOf(row).workflowId);
    const ofMixed = [...sums].filter(([workflow]) => workflow.startsWith('mixed')).map(([, sum]) => sum);
    expect(ofMixed).toHaveLength(40);
    expect(Math.max(...ofMixed)).toBeCloseTo(Math.min(...ofMixed), 9);
  });
});
