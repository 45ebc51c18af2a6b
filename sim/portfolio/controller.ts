import { portfolioFor } from '../../src/global/portfolio/for-fleet.js';
import { Portfolio, type PortfolioConfig } from '../../src/global/portfolio/portfolio.js';
import type { SimController } from '../types.js';
import { type JudgeFleet, replayJudge } from './judge.js';

/** How often the portfolio is asked whether an evaluation is due. */
const TICK_MS = 5_000;

/** The self-tuning policy inside a simulated run: the very portfolio of the live system, its replays done on the spot. */
export function portfolioController(
  fleet: JudgeFleet,
  config: Partial<PortfolioConfig> = {},
): SimController & { readonly portfolio: Portfolio } {
  const settings = { ...portfolioFor(fleet.nodes), ...config };
  const portfolio = new Portfolio(settings);
  const judge = replayJudge(fleet, settings.candidates);
  return {
    portfolio,
    traffic: portfolio.traffic,
    intervalMs: TICK_MS,
    stats() {
      const { evaluations, switches, chosen } = portfolio.stats();
      return { evaluations, switches, chosen };
    },
    tick(nowMs, knownQueues) {
      const request = portfolio.plan(nowMs);
      return request && portfolio.scored(judge.evaluate({ ...request, knownQueues: knownQueues() }), nowMs);
    },
  };
}
