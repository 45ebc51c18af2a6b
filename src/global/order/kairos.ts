import { type OrderingPolicy, remainingWorkMs } from './policy.js';

/**
 * After Kairos (arXiv 2508.06948): agents in classes of like remaining latency, shortest class first, and inside a class by the start of the workflow. Its classes come from distances
 * between latency distributions; here they are octaves of the expected remaining work.
 */
export const KAIROS: OrderingPolicy = {
  name: 'kairos-like',
  summary: 'octaves of remaining work, then arrival of the workflow',
  keyUnit: 'duration',
  usesLoad: false,
  key: (input) => {
    const octave = 2 ** Math.round(Math.log2(Math.max(1, remainingWorkMs(input))));
    // Arrivals of a week are less than a millisecond apart in the key, so they only break ties.
    return octave + input.workflow.arrivalMs / 1e9;
  },
};
