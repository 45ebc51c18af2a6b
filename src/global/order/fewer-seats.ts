import { SJF_LATE_LAST } from './late-last.js';
import { PORTFOLIO_PRIOR } from './maestro.js';
import type { OrderingPolicy } from './policy.js';

const SHARES = { half: 1 / 2, quarter: 1 / 4 };

/**
 * The order of another policy on a part of the seats. A step of an engine lasts the longer the more sequences are in it. Where prompts take most of the time, hardly more gets done by more of them, and a call ends
 * sooner on an engine that has fewer; where answers do, fewer seats mean less done (docs/research/order.md).
 */
function fewerSeats(policy: OrderingPolicy, share: keyof typeof SHARES): OrderingPolicy {
  return {
    ...policy,
    name: `${policy.name}-${share}-seats`,
    summary: `${policy.summary}; on a ${share} of the seats, so that each call runs faster`,
    seatShare: SHARES[share],
    fitsSeats: false,
  };
}

export const PRIOR_HALF_SEATS = fewerSeats(PORTFOLIO_PRIOR, 'half');
export const PRIOR_QUARTER_SEATS = fewerSeats(PORTFOLIO_PRIOR, 'quarter');
export const SJF_QUARTER_SEATS = fewerSeats(SJF_LATE_LAST, 'quarter');

export const FEWER_SEATS_POLICIES: readonly OrderingPolicy[] = [
  PRIOR_HALF_SEATS,
  PRIOR_QUARTER_SEATS,
  SJF_QUARTER_SEATS,
];
