import type { OrderingPolicy } from './policy.js';
import { isRelegated, RELEGATION_OFFSET_MS, type Relegation, relegationChangeMs } from './relegation.js';

const RULE: Relegation = { fromStep: 1, optimism: 1, onlyUnstarted: false };

/** EDF that gives up, while there is a queue, on workflows that would be late anyway. On big contexts it throws away prefix caches of workflows that have started. */
export const EDF_RELEGATION: OrderingPolicy = {
  name: 'edf-relegation',
  summary: 'earliest workflow deadline first; those that would be late anyway go last',
  keyUnit: 'instant',
  usesLoad: true,
  key: (input) => input.workflow.deadlineMs + (isRelegated(input, RULE) ? RELEGATION_OFFSET_MS : 0),
  changesAtMs: (input) => relegationChangeMs(input, RULE),
};
