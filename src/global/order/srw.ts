import { type OrderingPolicy, remainingTokenTimeMs } from './policy.js';

/**
 * Least remaining resource work: KV memory times the time that it is held, summed over what is left of the workflow (Justitia's measure, prompt × output + output² / 2
 * for a call). Where big contexts bind the memory, a short workflow with a large context is not a small one.
 */
export const SRW: OrderingPolicy = {
  name: 'srw',
  summary: 'least remaining KV token-time of the workflow first',
  keyUnit: 'duration',
  usesLoad: false,
  key: remainingTokenTimeMs,
};
