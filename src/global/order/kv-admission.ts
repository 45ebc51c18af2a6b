import { EDF } from './edf.js';
import { EDF_RELEGATION } from './edf-relegation.js';
import { HYBRID } from './hybrid.js';
import { PLAS } from './plas.js';
import type { OrderingPolicy } from './policy.js';
import { QOSERVE } from './qoserve.js';
import { SRTF } from './srtf.js';
import { SRW } from './srw.js';
import { STARTED_SRW } from './started-first.js';

/**
 * Contexts of workflows under way fill at most this share of the KV memory. Less than all, because fan-outs hold several contexts at once and contexts grow after the workflow has begun.
 * The value is a choice, not yet measured with a command of this repository.
 */
const KV_SHARE = 0.6;

/**
 * The order of another policy, but a new workflow begins only while the contexts of those under way fit the KV memory. Nothing else tried matters as much where contexts are large: without
 * it, every policy begins more than fit, their prefixes push each other out, and the fleet computes the same prompts again and again.
 */
function kvAdmission(policy: OrderingPolicy): OrderingPolicy {
  return {
    ...policy,
    name: `kv-${policy.name}`,
    summary: `${policy.summary}; new workflows begin only while contexts fit the KV memory`,
    kvShare: KV_SHARE,
  };
}

export const KV_HYBRID = kvAdmission(HYBRID);

export const KV_POLICIES: readonly OrderingPolicy[] = [
  kvAdmission(EDF),
  KV_HYBRID,
  ...[SRTF, SRW, QOSERVE, EDF_RELEGATION, PLAS, STARTED_SRW].map(kvAdmission),
];
