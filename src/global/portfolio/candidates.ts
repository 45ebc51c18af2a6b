import { EDF } from '../order/edf.js';
import { KV_POLICIES } from '../order/kv-admission.js';
import { PORTFOLIO_PRIOR as PRIOR } from '../order/maestro.js';
import type { OrderingPolicy } from '../order/policy.js';
import { SRTF } from '../order/srtf.js';

/**
 * What the self-tuning policy chooses from: the orderings that admit by KV memory, which are the plain ones where memory does not bind, and two plain ones for traffic whose contexts share
 * so much that the memory only seems to bind.
 */
export const PORTFOLIO_CANDIDATES: readonly OrderingPolicy[] = [...KV_POLICIES, EDF, SRTF];

/** Name of the ordering that serves until something is known. */
export const PORTFOLIO_PRIOR: string = PRIOR.name;
