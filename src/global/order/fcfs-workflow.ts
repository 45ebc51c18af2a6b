import type { OrderingPolicy } from './policy.js';

/** First come, first served by the arrival of the workflow, so that a running workflow is not put behind newer ones at each call. */
export const FCFS_WORKFLOW: OrderingPolicy = {
  name: 'fcfs-workflow',
  summary: 'first come, first served, by the arrival of the workflow',
  keyUnit: 'instant',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ workflow }) => workflow.arrivalMs,
};
