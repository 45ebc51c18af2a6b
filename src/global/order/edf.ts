import type { OrderingPolicy } from './policy.js';

/** Earliest deadline first, by the deadline of the workflow. Hard to beat until the fleet is overloaded. */
export const EDF: OrderingPolicy = {
  name: 'edf',
  summary: 'earliest workflow deadline first',
  keyUnit: 'instant',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ workflow }) => workflow.deadlineMs,
};
