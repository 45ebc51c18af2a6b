import { type OrderingPolicy, remainingWorkMs } from './policy.js';

/** Least laxity first: the latest moment at which the rest of the workflow must start to be done in time. */
export const LLF: OrderingPolicy = {
  name: 'llf',
  summary: 'least laxity first: deadline minus expected remaining work of the workflow',
  keyUnit: 'instant',
  usesLoad: false,
  key: (input) => input.workflow.deadlineMs - remainingWorkMs(input),
};
