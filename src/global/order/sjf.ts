import type { OrderingPolicy } from './policy.js';

/** Shortest job first, where the job is the single call. */
export const SJF: OrderingPolicy = {
  name: 'sjf',
  summary: 'shortest expected call first',
  keyUnit: 'duration',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ prediction }) => prediction.serviceMs,
};
