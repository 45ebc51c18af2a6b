import { EDF } from './edf.js';
import { EDF_SJF } from './edf-sjf.js';
import { PLAS } from './plas.js';
import type { OrderInput, OrderingPolicy } from './policy.js';
import { RELEGATION_OFFSET_MS } from './relegation.js';
import { SJF } from './sjf.js';

/**
 * The order of another policy, but workflows whose deadline has passed go behind all others. Unlike relegation it predicts nothing, so it never gives up on a workflow that could still be in
 * time; under overload it is what keeps lateness from spreading. The starvation guard of the scheduler still lets late workflows through.
 */
function lateLast(policy: OrderingPolicy): OrderingPolicy {
  const { key, changesAtMs } = policy;
  return {
    ...policy,
    name: `${policy.name}-late-last`,
    summary: `${policy.summary}; workflows past their deadline go last`,
    key: (input) => key(input) + (isLate(input) ? RELEGATION_OFFSET_MS : 0),
    changesAtMs: (input) => Math.min(changesAtMs?.(input) ?? Number.POSITIVE_INFINITY, becomesLateMs(input)),
  };
}

function isLate({ nowMs, workflow }: OrderInput): boolean {
  return nowMs > workflow.deadlineMs;
}

/** The first moment at which the workflow counts as late; Infinity when it is already. */
function becomesLateMs({ nowMs, workflow }: OrderInput): number {
  return nowMs > workflow.deadlineMs ? Number.POSITIVE_INFINITY : workflow.deadlineMs + LATE_BY_MS;
}

/** A deadline that is met to the millisecond is met. */
const LATE_BY_MS = 1;

export const EDF_LATE_LAST = lateLast(EDF);
export const EDF_SJF_LATE_LAST = lateLast(EDF_SJF);
export const PLAS_LATE_LAST = lateLast(PLAS);
export const SJF_LATE_LAST = lateLast(SJF);
