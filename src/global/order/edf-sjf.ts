import { FLOODED } from './load-steps.js';
import type { OrderingPolicy } from './policy.js';

/**
 * How much a millisecond of the call weighs against one of deadline, by load step: little while fewer stages of the model wait than it has seats, for then most deadlines can be met; more as the queue
 * grows, for then many cannot, and short calls leave time for more of them. On tuning seeds, on the workloads of `bench/slo` and on others, 16 at any load, and 0 or 4 at the first step, strayed
 * further from the best policy of each cell (docs/policies.md).
 */
const CALL_WEIGHTS: readonly number[] = [2, 4, 16];
/** In a flood the shortest goes first, and the deadline decides between calls of nearly equal length only. */
const FLOOD_WEIGHT = 1000;

/**
 * Deadline plus the weighted expected time of the call: earliest deadline first while the queue is short or calls are of like length, and under load a short call goes before a long one unless its
 * deadline is much later. The call and not the rest of the workflow, because its length is predicted far better.
 */
export const EDF_SJF: OrderingPolicy = {
  name: 'edf-sjf',
  summary:
    'deadline plus the expected time of the call, weighted by the length of the queue: 2, 4 or 16 times, and above all in a flood of single calls',
  keyUnit: 'instant',
  usesLoad: true,
  key: ({ workflow, prediction, loadStep }) => workflow.deadlineMs + weightOfCall(loadStep) * prediction.serviceMs,
};

function weightOfCall(loadStep: number): number {
  return loadStep === FLOODED ? FLOOD_WEIGHT : CALL_WEIGHTS[Math.min(loadStep, CALL_WEIGHTS.length - 1)]!;
}
