import { EDF_SJF_BATCH_WORK } from './edf-sjf-batch-work.js';
import type { OrderingPolicy } from './policy.js';

/** The ordering that the self-tuning policy begins with: the one that strays least from the best of each cell on the tuning seeds of `bench/slo`. */
export const PORTFOLIO_PRIOR = EDF_SJF_BATCH_WORK;

/**
 * The house policy. The ordering is chosen from all others by replaying the last minutes of traffic (`global/portfolio`); this is what it orders by before there is anything to replay, and
 * where nobody can.
 */
export const MAESTRO: OrderingPolicy = {
  ...PORTFOLIO_PRIOR,
  name: 'maestro',
  summary: 'tunes itself: whichever ordering would have kept most of the last minutes in time',
};
