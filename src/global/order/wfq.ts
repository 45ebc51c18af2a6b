import { type OrderingPolicy, remainingWorkMs } from './policy.js';

/**
 * Weighted fair queueing of workflows: the virtual time at which each would be done if all were served at once in proportion to their weights. Bounds the delay of everybody; knows
 * no deadlines. Tenants are kept apart above the policy.
 */
export const WFQ: OrderingPolicy = {
  name: 'wfq',
  summary: 'earliest finish under fair sharing, by arrival and total work of the workflow',
  keyUnit: 'instant',
  usesLoad: false,
  key: (input) => {
    const { workflow, stage } = input;
    return workflow.arrivalMs + (workflow.attainedServiceMs + remainingWorkMs(input)) / Math.max(stage.weight, 1e-3);
  },
};
