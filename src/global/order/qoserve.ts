import { type OrderingPolicy, remainingWorkMs } from './policy.js';
import { isRelegated, RELEGATION_OFFSET_MS, type Relegation, relegationChangeMs } from './relegation.js';

/** Weight of remaining work by load step; QoServe's alpha rises with load. */
const WORK_WEIGHT: readonly number[] = [0, 1, 2, 4, 8];
const EAGER: Relegation = { fromStep: 0, optimism: 1, onlyUnstarted: false };

/** After QoServe (arXiv 2503.22562): deadline plus load-weighted remaining work, with eager relegation of whatever is certain to miss. */
export const QOSERVE: OrderingPolicy = {
  name: 'qoserve-like',
  summary: 'deadline plus load-weighted remaining work; whatever would be late goes last at once',
  keyUnit: 'instant',
  usesLoad: true,
  key: (input) => {
    const weight = WORK_WEIGHT[Math.min(input.loadStep, WORK_WEIGHT.length - 1)]!;
    const base = input.workflow.deadlineMs + weight * remainingWorkMs(input);
    return base + (isRelegated(input, EAGER) ? RELEGATION_OFFSET_MS : 0);
  },
  changesAtMs: (input) => relegationChangeMs(input, EAGER),
};
