import type { EngineView, RankView } from '../model/fleet.js';
import { type EngineCosts, type EngineRecord, type LeaseTime, NO_RANKS } from './engine-record.js';

/**
 * One data-parallel rank of an engine. To filters, scorers and the index of prefixes it is an engine of its own, with its part of the seats and the pool; what happens to the process
 * is read off the whole.
 */
class RankRecord implements EngineRecord {
  pendingLeases = 0;
  pendingKvTokens = 0;
  readonly ranks = NO_RANKS;

  constructor(
    readonly whole: EngineRecord,
    readonly rank: number,
    public view: EngineView,
    public costs: EngineCosts,
  ) {}

  get leaseTime(): LeaseTime {
    return this.whole.leaseTime;
  }

  get heldBeside(): number {
    return this.whole.heldBeside;
  }

  get stale(): boolean {
    return this.whole.stale;
  }

  get slowness(): number {
    return this.whole.slowness;
  }

  get cacheGeneration(): number {
    return this.whole.cacheGeneration;
  }
}

/** Gives the ranks of an engine what its newest view says of them. */
export function updateRanks(engine: EngineRecord): void {
  const told = engine.view.ranks ?? [];
  if (told.length !== engine.ranks.length) {
    // Nobody knows which of the new ones has what.
    engine.cacheGeneration += 1;
    engine.ranks = told.map((_, rank) => new RankRecord(engine, rank, engine.view, engine.costs));
  }
  if (told.length === 0) return;
  const costs = costsOf(engine.costs, told.length);
  for (const [rank, of] of told.entries()) {
    const record = engine.ranks[rank]!;
    record.view = viewOf(engine.view, of, told.length);
    record.costs = costs;
    record.pendingLeases = 0;
    record.pendingKvTokens = 0;
  }
}

function viewOf(view: EngineView, of: RankView, ranks: number): EngineView {
  return {
    ...view,
    ...of,
    seats: view.seats / ranks,
    kvPoolTokens: view.kvPoolTokens / ranks,
    engineWaiting: view.engineWaiting / ranks,
    enginePreemptions: view.enginePreemptions / ranks,
  };
}

/** Those of an engine are for what is spread over all of its ranks. */
function costsOf(costs: EngineCosts, ranks: number): EngineCosts {
  return {
    ...costs,
    stepMsPerSequence: ranks * costs.stepMsPerSequence,
    stepMsPerContextToken: ranks * costs.stepMsPerContextToken,
  };
}
