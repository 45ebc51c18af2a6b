import type { OrderingPolicy } from './policy.js';

/**
 * How much a millisecond of the call weighs against one of deadline. On the tuning seeds of `bench/slo`, 4, 8, 16 and 32 were tried; 16 strays least from the best policy of each cell.
 */
const CALL_WEIGHT = 16;

/**
 * Deadline plus the weighted expected time of the call: earliest deadline first among calls of like length, and a short call goes before a long one unless its deadline is much later. The call
 * and not the rest of the workflow, because its length is predicted far better.
 */
export const EDF_SJF: OrderingPolicy = {
  name: 'edf-sjf',
  summary: `deadline plus ${CALL_WEIGHT} times the expected time of the call`,
  keyUnit: 'instant',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ workflow, prediction }) => workflow.deadlineMs + CALL_WEIGHT * prediction.serviceMs,
};
