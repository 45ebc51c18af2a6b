import { EDF } from './edf.js';
import { EDF_SJF_LATE_LAST } from './late-last.js';
import type { OrderingPolicy } from './policy.js';

/**
 * Contexts of workflows under way fill at most this share of the KV memory. Less than all, because fan-outs hold several contexts at once and contexts grow after the workflow has begun.
 * The value is a choice.
 */
const KV_SHARE = 0.6;

/**
 * The order of another policy, but a new workflow begins only while the contexts of those under way fit the KV memory, so that they do not push each other's prefixes out. It pays only where a
 * prompt is dear to compute again; elsewhere it leaves engines idle (docs/policies.md).
 */
function kvAdmission(policy: OrderingPolicy): OrderingPolicy {
  return {
    ...policy,
    name: `kv-${policy.name}`,
    summary: `${policy.summary}; new workflows begin only while contexts fit the KV memory`,
    kvShare: KV_SHARE,
  };
}

export const KV_EDF = kvAdmission(EDF);

export const KV_POLICIES: readonly OrderingPolicy[] = [KV_EDF, kvAdmission(EDF_SJF_LATE_LAST)];
