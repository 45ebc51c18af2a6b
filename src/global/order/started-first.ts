import { EDF } from './edf.js';
import type { OrderInput, OrderingPolicy } from './policy.js';
import { SRW } from './srw.js';

/** Puts workflows that have started before all others; within an engine's priorities that is still in range (about 11 days). */
const STARTED_OFFSET_MS = 1e9;

/**
 * What has begun is finished first, and the order of another policy holds among the started and among the new. Every started workflow keeps its contexts in prefix caches; where contexts
 * are large, beginning many at a time makes them push each other out, and the fleet spends itself on computing the same prompts again.
 */
function startedFirst(policy: OrderingPolicy): OrderingPolicy {
  return {
    name: `started-${policy.name}`,
    summary: `workflows that have started first; among them, ${policy.summary}`,
    keyUnit: policy.keyUnit,
    usesLoad: policy.usesLoad,
    key: (input: OrderInput) => policy.key(input) - (input.workflow.dispatchedStages > 0 ? STARTED_OFFSET_MS : 0),
  };
}

export const STARTED_SRW = startedFirst(SRW);
export const STARTED_EDF = startedFirst(EDF);
