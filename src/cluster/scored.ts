import type { CandidateScore, PlaceExplanation } from '../model/fleet.js';
import { type EngineRecord, leasesOf } from './engine-record.js';
import { EngineScore } from './score/engine-score.js';

/** Candidates that an explanation keeps. */
const EXPLAINED_CANDIDATES = 8;

/** An engine, or a rank of one, that could take a stage, and the delay that is expected there. */
export interface Scored {
  readonly engine: EngineRecord;
  readonly totalMs: number;
  /** In the order of the scorers, where they are kept. */
  readonly delaysMs: readonly number[] | undefined;
}

/** What is kept of a decision: the best candidates with every term of their scores, where these were kept. */
export function explain(scored: readonly Scored[], refusals: Readonly<Record<string, number>>): PlaceExplanation {
  const candidates: CandidateScore[] = [];
  for (const { engine, delaysMs } of scored) {
    if (!delaysMs || candidates.length === EXPLAINED_CANDIDATES) break;
    candidates.push(new EngineScore(engine.view.spec, engine.rank, delaysMs));
  }
  return { candidates, refusals };
}

/** Puts a scored engine among others: the lowest delay first, then the fewest leases, then whichever came first. */
export function insertSorted(scored: Scored[], added: Scored): void {
  let index = scored.length;
  for (; index > 0; index--) {
    const before = scored[index - 1]!;
    const difference = before.totalMs - added.totalMs || leasesOf(before.engine) - leasesOf(added.engine);
    if (difference <= 0) break;
    scored[index] = before;
  }
  scored[index] = added;
}
