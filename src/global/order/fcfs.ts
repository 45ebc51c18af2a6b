import type { OrderingPolicy } from './policy.js';

/** First come, first served, call by call: what an engine without a scheduler in front of it does. */
export const FCFS: OrderingPolicy = {
  name: 'fcfs',
  summary: 'first come, first served, call by call',
  keyUnit: 'instant',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ enqueuedAtMs }) => enqueuedAtMs,
};
