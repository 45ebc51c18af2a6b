import type { WorkloadFacts } from './facts.js';
import { hasForesight } from './policy-names.js';
import type { RunRow } from './types.js';

/** What became of a policy when the traffic changed in the middle of the run. */
export interface Change {
  readonly workload: string;
  readonly deadlineRule: RunRow['deadlineRule'];
  readonly policy: string;
  /** Number of the phase, from 1; the first is what was before any change. */
  readonly phase: number;
  /** Of the workflows that arrived in the phase, over all seeds. */
  readonly attainment: number;
  /** Of those that arrived in its first minutes ({@link SETTLED_MINUTES}), and of all later ones. */
  readonly attainmentAtFirst: number;
  /** Null where the phase is no longer than that. */
  readonly attainmentLater: number | null;
  /**
   * The policy that serves and keeps most of the workflows in time that arrive once the phase has settled (or in all of a short one), and the minutes of the phase from which on this policy is on
   * average no more than {@link WITHIN} behind that one; null if that is not so while there is enough of the phase left to tell.
   */
  readonly best: string;
  readonly backAfterMinutes: number | null;
}

/** The goal: back at the best policy's level within so many minutes of a change. */
export const SETTLED_MINUTES = 5;
/** One point. */
const WITHIN = 0.01;
/** What is left of a phase must be at least so long to say that a policy is back: less is a matter of a few workflows. */
const LEAST_MINUTES = 5;

/** One for each workload with phases × rule × policy × phase. */
export function changesOf(workloads: readonly WorkloadFacts[], runs: readonly RunRow[]): Change[] {
  return workloads.flatMap(({ name, phases }) => {
    if (!phases) return [];
    const own = runs.filter(({ workload }) => workload === name);
    return [...new Set(own.map(({ deadlineRule }) => deadlineRule))].flatMap((deadlineRule) => {
      const pooled = pool(own.filter((row) => row.deadlineRule === deadlineRule));
      return phases.flatMap(({ fromMinute, toMinute }, index) => {
        const settled = Math.min(fromMinute + SETTLED_MINUTES, toMinute);
        const judged = settled < toMinute ? settled : fromMinute;
        const serving = [...pooled].filter(([policy]) => !hasForesight(policy));
        const [best = '', reference] =
          serving.sort(([, a], [, b]) => b.share(judged, toMinute) - a.share(judged, toMinute))[0] ?? [];
        return [...pooled].map(
          ([policy, { share }]): Change => ({
            ...{ workload: name, deadlineRule, policy, phase: index + 1, best },
            attainment: share(fromMinute, toMinute),
            attainmentAtFirst: share(fromMinute, settled),
            attainmentLater: settled < toMinute ? share(settled, toMinute) : null,
            backAfterMinutes: backAfter(share, reference?.share ?? share, fromMinute, toMinute),
          }),
        );
      });
    });
  });
}

/** Share of the workflows in time that arrived from one minute to another. */
type ShareOfMinutes = (fromMinute: number, toMinute: number) => number;

function backAfter(own: ShareOfMinutes, best: ShareOfMinutes, fromMinute: number, toMinute: number): number | null {
  for (let minute = fromMinute; minute <= toMinute - LEAST_MINUTES; minute++) {
    if (own(minute, toMinute) >= best(minute, toMinute) - WITHIN) return minute - fromMinute;
  }
  return null;
}

/** All seeds of each policy together. */
function pool(rows: readonly RunRow[]): Map<string, { readonly share: ShareOfMinutes }> {
  const policies = [...new Set(rows.map(({ policy }) => policy))];
  return new Map(
    policies.map((policy) => {
      const minutes = rows.flatMap((row) => (row.policy === policy ? (row.minutes ?? []) : []));
      const share: ShareOfMinutes = (from, to) => {
        const sum = (counts: readonly number[]) => counts.slice(from, to).reduce((total, each) => total + each, 0);
        const arrived = minutes.reduce((total, each) => total + sum(each.arrived), 0);
        return arrived === 0 ? 0 : minutes.reduce((total, each) => total + sum(each.inTime), 0) / arrived;
      };
      return [policy, { share }] as const;
    }),
  );
}
