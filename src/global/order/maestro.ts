import { KV_HYBRID } from './kv-admission.js';
import type { OrderingPolicy } from './policy.js';

/** The ordering that the self-tuning policy begins with: chosen on tuning workloads in measurements that were cut short, so it is no more than a beginning. */
export const PORTFOLIO_PRIOR = KV_HYBRID;

/**
 * The house policy. The ordering is chosen from all others by replaying the last minutes of traffic (`global/portfolio`); this is what it orders by before there is anything to replay, and
 * where nobody can.
 */
export const MAESTRO: OrderingPolicy = {
  ...PORTFOLIO_PRIOR,
  name: 'maestro',
  summary: 'tunes itself: whichever ordering would have kept most of the last minutes in time',
};
