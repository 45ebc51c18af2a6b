import { ClairvoyantBound } from '../bound/clairvoyant.js';
import type { Arrival } from '../types.js';
import type { SweepCell, SweepWorkload } from './types.js';

interface Known {
  readonly bound: ClairvoyantBound;
  readonly byTraffic: Map<string, number>;
}

/** Worked out once for each workload, and once for each of its loads, rules and seeds, in this process. */
const known = new WeakMap<SweepWorkload, Known>();

/** Share of the workflows that arrive from `fromMs` on which no policy can exceed; see {@link ClairvoyantBound}. */
export function boundOf(
  workload: SweepWorkload,
  { deadlineRule, load, seed }: SweepCell,
  arrivals: readonly Arrival[],
  fromMs: number,
): number {
  let own = known.get(workload);
  if (!own) {
    const { workflows, nodes, rttMs } = workload;
    own = { bound: new ClairvoyantBound(workflows, nodes, rttMs, workload.lookAhead), byTraffic: new Map() };
    known.set(workload, own);
  }
  const key = `${deadlineRule} ${load} ${seed}`;
  let share = own.byTraffic.get(key);
  if (share === undefined) {
    share = own.bound.attainment(arrivals, fromMs);
    own.byTraffic.set(key, share);
  }
  return share;
}
