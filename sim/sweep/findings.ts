import { formatPercent, trimmed } from '../report/format.js';
import { hasForesight } from './policy-names.js';
import type { SweepReport } from './report.js';
import { pairedDifference } from './summary.js';
import { bestAt, type CellGroup, groupCells, signedPoints } from './tables.js';

/**
 * What a reader wants to know first, in sentences: for each workload and rule at its highest load, who is best, and where `maestro` stands against it, EDF, FCFS and the
 * best policy with foresight. Differences are taken seed by seed.
 */
export function findings(report: SweepReport): string[] {
  return groupCells(report.cells).flatMap((group) => {
    const load = group.loads.at(-1)!;
    const best = bestAt(group, load);
    if (!best) return [];
    const at = `${group.workload}, deadlines ${group.deadlineRule}, load ${trimmed(load, 2)}`;
    const own = group.cell('maestro', load);
    if (!own) return [`${at}: best is ${best.policy} with ${formatPercent(best.attainment.mean)} in time.`];
    const rivals = new Set([best.policy, 'edf', 'fcfs', bestOracle(group, load)]);
    const against = [...rivals].flatMap((policy) => {
      if (policy === undefined || policy === 'maestro' || !group.cell(policy, load)) return [];
      const difference = pairedDifference(rowsOf(report, group, 'maestro', load), rowsOf(report, group, policy, load));
      return [
        `${signedPoints(difference)} points against ${policy}${policy === best.policy ? ' (the best that serves)' : ''}`,
      ];
    });
    const lead = best.policy === 'maestro' ? ', the best that serves' : '';
    return [
      `${at}: maestro ${formatPercent(own.attainment.mean)} in time${lead}; ${against.join(', ') || 'no other policy ran'}; no policy can exceed ${formatPercent(group.bound(load)?.mean)}.`,
    ];
  });
}

function bestOracle({ policies, cell }: CellGroup, load: number): string | undefined {
  const mean = (policy: string) => cell(policy, load)?.attainment.mean ?? 0;
  return policies.filter(hasForesight).sort((a, b) => mean(b) - mean(a))[0];
}

function rowsOf({ runs }: SweepReport, { workload, deadlineRule }: CellGroup, policy: string, load: number) {
  return runs.filter(
    (row) =>
      row.workload === workload && row.deadlineRule === deadlineRule && row.policy === policy && row.load === load,
  );
}
