import { type OrderingPolicy, remainingWorkMs } from './policy.js';

/** How much a millisecond of remaining work weighs against one of deadline. */
const WORK_WEIGHT = 4;

/** Deadline plus remaining work at a fixed exchange rate: between EDF and shortest first, whatever the load. */
export const HYBRID: OrderingPolicy = {
  name: 'hybrid',
  summary: 'deadline plus four times the remaining work',
  keyUnit: 'instant',
  usesLoad: false,
  key: (input) => input.workflow.deadlineMs + WORK_WEIGHT * remainingWorkMs(input),
};
