import type { OrderingPolicy } from './policy.js';

/** Program-level least attained service (Agentix, NSDI 2026): the workflow that has been served least goes first. Predicts nothing. */
export const PLAS: OrderingPolicy = {
  name: 'plas',
  summary: 'least attained service of the workflow first; predicts nothing',
  keyUnit: 'duration',
  usesLoad: false,
  ignoresRemainingWork: true,
  key: ({ workflow }) => workflow.attainedServiceMs,
};
