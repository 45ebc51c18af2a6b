import type { NodeSpec } from '../../model/fleet.js';
import { PORTFOLIO_PRIOR } from '../order/maestro.js';
import { modelsTakingTurns } from '../taking-turns.js';
import { PORTFOLIO_CANDIDATES } from './candidates.js';
import type { PortfolioConfig } from './portfolio.js';
import { thinnings } from './thinning.js';

/**
 * So clear a single replay must be, in standard deviations of chance. Only where no models take turns on a GPU: there one replay may go wrong in dozens of places for one reason, for who is awake when decides over
 * all of them.
 */
const CLEAR_ALONE = 4;

/** The settings of the portfolio that depend on the fleet, and what it chooses from. */
export function portfolioFor(
  nodes: readonly NodeSpec[],
): Pick<PortfolioConfig, 'candidates' | 'prior' | 'thinnings' | 'clearAlone'> {
  return {
    candidates: PORTFOLIO_CANDIDATES,
    prior: PORTFOLIO_PRIOR.name,
    thinnings: thinnings(nodes),
    clearAlone: modelsTakingTurns(nodes).size > 0 ? Number.POSITIVE_INFINITY : CLEAR_ALONE,
  };
}
