import { type OrderingPolicy, remainingWorkMs } from './policy.js';

/** Shortest remaining time first, where the time is that of the whole workflow: this stage and what usually follows it. */
export const SRTF: OrderingPolicy = {
  name: 'srtf',
  summary: 'shortest expected remaining time of the workflow first',
  keyUnit: 'duration',
  usesLoad: false,
  key: remainingWorkMs,
};
