import { type Change, changesOf } from './changes.js';
import { SLOWDOWN_POINTS } from './delays.js';
import type { WorkloadFacts } from './facts.js';
import type { Losses } from './losses.js';
import type { ReportPart, SweepPlan } from './plan.js';
import { type CellSummary, summarise } from './summary.js';
import type { RunRow } from './types.js';

/** `report.json` of a sweep. Nothing in it depends on the machine or the moment: the same sweep gives the same bytes. */
export interface SweepReport {
  readonly kind: 'maestro-sweep';
  readonly version: 4;
  readonly title: string;
  readonly command: string;
  readonly workloads: readonly WorkloadFacts[];
  readonly notes: readonly string[];
  /** The slowdowns that the elements of each `slowdown.cdf` belong to. */
  readonly slowdownPoints: readonly number[];
  /** The main comparison: one row for each workload × rule × policy × load × seed. */
  readonly runs: readonly RunRow[];
  /** `runs` over their seeds. */
  readonly cells: readonly CellSummary[];
  /** What became of each policy where the traffic changed in the middle of the run. */
  readonly changes: readonly Change[];
  /** A minute of each workload in which `maestro` and `edf` differ most; where they were played again call by call. */
  readonly losses: readonly Losses[];
  /** The policy `maestro` with one of its parts switched off, or another in its place. */
  readonly ablations: readonly RunRow[];
  /** The policy `maestro` with other rules of what is kept in a tool call. */
  readonly retention: readonly RunRow[];
  /** Policies on predictions of another quality. */
  readonly noise: readonly RunRow[];
  /** Policies on another placement or reservation. */
  readonly placement: readonly RunRow[];
  /** Policies on more of the same fleet with as much more traffic. */
  readonly scale: readonly RunRow[];
}

/** @param rows One for each cell of the plan, in its order. */
export function buildSweepReport(
  plan: SweepPlan,
  rows: readonly RunRow[],
  losses: readonly Losses[] = [],
): SweepReport {
  const part = (name: ReportPart) => rows.filter((_, index) => plan.cells[index]!.part === name);
  const { title, command, workloads, notes } = plan;
  const runs = part('runs');
  return {
    ...{ kind: 'maestro-sweep', version: 4, title, command, workloads, notes, slowdownPoints: SLOWDOWN_POINTS },
    ...{ runs, cells: summarise(runs), changes: changesOf(workloads, runs), losses },
    ...{ ablations: part('ablations'), retention: part('retention') },
    ...{ noise: part('noise'), placement: part('placement'), scale: part('scale') },
  };
}
