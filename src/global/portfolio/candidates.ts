import { EDF } from '../order/edf.js';
import { FCFS } from '../order/fcfs.js';
import { PRIOR_HALF_SEATS, PRIOR_QUARTER_SEATS, SJF_QUARTER_SEATS } from '../order/fewer-seats.js';
import { EDF_LATE_LAST, EDF_SJF_LATE_LAST, PLAS_LATE_LAST, SJF_LATE_LAST } from '../order/late-last.js';
import { PORTFOLIO_PRIOR } from '../order/maestro.js';
import type { OrderingPolicy } from '../order/policy.js';
import { QOSERVE } from '../order/qoserve.js';

/**
 * What the self-tuning policy chooses from: each ordering that is the best of some cell of the benchmark. They are tried in this order at first, so those come early that are furthest ahead of the prior where they
 * are (docs/research/order.md).
 */
export const PORTFOLIO_CANDIDATES: readonly OrderingPolicy[] = [
  ...[PORTFOLIO_PRIOR, PRIOR_QUARTER_SEATS, SJF_LATE_LAST, SJF_QUARTER_SEATS, PRIOR_HALF_SEATS],
  ...[QOSERVE, PLAS_LATE_LAST, EDF_LATE_LAST, EDF_SJF_LATE_LAST, EDF, FCFS],
];
