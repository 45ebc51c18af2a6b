import { type EngineRecord, wholeOf } from './engine-record.js';
import { disturbs, MAX_PASSED, type ModelIndex, type Spared } from './model-index.js';
import type { PlaceRequest } from './place-request.js';
import { refusalOf } from './refusals.js';

/** Running and sleeping engines scored for one stage, besides those with a warm prefix. */
const MAX_RUNNING_CANDIDATES = 8;
const MAX_SLEEPING_CANDIDATES = 3;
/** Engines that are looked at to find those; refused ones count. */
const MAX_LOOKED_AT = 24;

/** Which engines are worth scoring for a stage: a few that the indexes name, at any size of the fleet. */
export class Candidates {
  constructor(
    private readonly engines: ReadonlyMap<string, EngineRecord>,
    private readonly spared: Spared,
  ) {}

  /**
   * Engines that pass all filters, each once: those with a warm prefix, the least loaded, and the soonest ready of the sleeping. Of an engine with ranks
   * those ranks that do.
   *
   * @param refusals Counts engines by the filter that refused them.
   */
  find(request: PlaceRequest, index: ModelIndex, refusals: Record<string, number>): EngineRecord[] {
    // So few are looked at that a list is searched faster than a set is made.
    const looked: EngineRecord[] = [];
    const found: EngineRecord[] = [];
    const look = (engine: EngineRecord): boolean => {
      if (looked.includes(engine)) return false;
      looked.push(engine);
      const refusal = refusalOf(request, engine);
      if (refusal !== undefined) refusals[refusal] = (refusals[refusal] ?? 0) + 1;
      else if (engine.ranks.length === 0) found.push(engine);
      else for (const rank of engine.ranks) if (refusalOf(request, rank) === undefined) found.push(rank);
      return refusal === undefined;
    };
    const pinned = request.stage.onlyEngineId;
    if (pinned !== undefined) {
      const only = this.engines.get(pinned);
      if (only) look(only);
      return found;
    }
    if (request.kept) look(wholeOf(request.kept.engine));
    for (const engine of request.cachedTokens.keys()) look(wholeOf(engine));
    let running = 0;
    index.visitLeastLoaded((engine) => {
      if (look(engine)) running += 1;
      return running >= MAX_RUNNING_CANDIDATES || looked.length >= MAX_LOOKED_AT;
    });
    // Where memory binds, the least loaded engines need not be the ones with room.
    if (found.length === 0) {
      index.roomiest(request.prediction.kvTokens.bound, (engine) => !looked.includes(engine) && look(engine));
      // Better slow than not at all: the quick ones may have refused the stage, or be too small for it.
      if (found.length === 0) index.visitSlow(look);
    }
    if (!index.hasAsleep) return found;
    let sleeping = 0;
    let passed = 0;
    const calm = index.runsFor(request);
    index.visitSoonestReady((engine) => {
      if (calm && disturbs(engine, this.spared)) {
        passed += 1;
        return passed >= MAX_PASSED;
      }
      if (look(engine)) sleeping += 1;
      return sleeping >= MAX_SLEEPING_CANDIDATES;
    });
    return found;
  }
}
