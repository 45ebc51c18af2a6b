import { formatMs, formatNumber, formatPercent, trimmed } from '../report/format.js';
import type { Losses } from './losses.js';
import { hasForesight } from './policy-names.js';
import type { SweepReport } from './report.js';
import type { CellSummary, Estimate } from './summary.js';

/** Cells that stand in one table: one workload under one rule. */
export interface CellGroup {
  readonly workload: string;
  readonly deadlineRule: CellSummary['deadlineRule'];
  readonly loads: readonly number[];
  /** Best first, by mean attainment over the loads; those with foresight last. */
  readonly policies: readonly string[];
  readonly cell: (policy: string, load: number) => CellSummary | undefined;
  /** What no policy can exceed at a load. */
  readonly bound: (load: number) => Estimate | undefined;
}

/** Its name where policies are listed. */
export const BOUND = 'clairvoyant-bound';

/** What belongs to one workload under one rule, in the order in which it first comes; no group is empty. */
export function byWorkloadAndRule<T extends Pick<CellSummary, 'workload' | 'deadlineRule'>>(
  items: readonly T[],
): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = JSON.stringify([item.workload, item.deadlineRule]);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}

export function groupCells(cells: readonly CellSummary[]): CellGroup[] {
  return byWorkloadAndRule(cells).map((members) => {
    const loads = [...new Set(members.map(({ load }) => load))].sort((a, b) => a - b);
    const names = [...new Set(members.map(({ policy }) => policy))];
    const cell = (policy: string, load: number) =>
      members.find((member) => member.policy === policy && member.load === load);
    const rank = (policy: string) =>
      loads.reduce((sum, load) => sum + (cell(policy, load)?.attainment.mean ?? 0), hasForesight(policy) ? -1e6 : 0);
    const { workload, deadlineRule } = members[0]!;
    // The same for every policy on the same seeds.
    const bound = (load: number) => members.find((member) => member.load === load)?.bound;
    return { workload, deadlineRule, loads, policies: names.sort((a, b) => rank(b) - rank(a)), cell, bound };
  });
}

/** The policy that serves and is best at a load; undefined where there is none. */
export function bestAt({ policies, cell }: CellGroup, load: number): CellSummary | undefined {
  return policies
    .filter((policy) => !hasForesight(policy))
    .map((policy) => cell(policy, load))
    .filter((summary) => summary !== undefined)
    .reduce<CellSummary | undefined>(
      (best, each) => (best === undefined || each.attainment.mean > best.attainment.mean ? each : best),
      undefined,
    );
}

/** "93.1 ± 1.2 %". */
export function percentWithInterval({ mean, ci95 }: Estimate, seeds: number): string {
  if (seeds < 2) return formatPercent(mean);
  return `${trimmed(mean * 100, 1)} ± ${trimmed(ci95 * 100, 1)} %`;
}

export interface TextTable {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly cells: readonly string[]; readonly best?: readonly number[] }[];
}

/** What the workloads are, and what load 1 is of each. */
export function workloadTable({ workloads }: SweepReport): TextTable {
  return {
    columns: ['workload', 'what it is', 'workflows', 'calls', 'GPUs', 'engines', 'models', 'load 1 is'],
    rows: workloads.map((workload) => ({
      cells: [
        workload.name,
        workload.about,
        formatNumber(workload.workflows),
        formatNumber(workload.stages),
        `${workload.gpus}${workload.dollarsPerHour === undefined ? '' : ` (${trimmed(workload.dollarsPerHour, 2)} $/h)`}`,
        String(workload.engines),
        String(workload.models.length),
        workload.phases
          ? workload.phases
              .map(({ about, load, fromMinute }) => `from minute ${fromMinute}: ${about} at ${trimmed(load, 2)}`)
              .join('; ')
          : `${formatNumber(workload.capacityPerHour)} workflows /h (${trimmed(workload.capacitySpeed, 3)}× the trace)`,
      ],
    })),
  };
}

/** Attainment of each policy at each load, and what none can exceed. `best` names the columns in which a row is the best that serves. */
export function attainmentTable(group: CellGroup): TextTable {
  const best = group.loads.map((load) => bestAt(group, load)?.attainment.mean);
  return {
    columns: ['policy', ...group.loads.map((load) => `load ${trimmed(load, 2)}`)],
    rows: [
      ...group.policies.map((policy) => ({
        cells: [
          policy,
          ...group.loads.map((load) => {
            const cell = group.cell(policy, load);
            return cell ? percentWithInterval(cell.attainment, cell.seeds) : '–';
          }),
        ],
        best: group.loads.flatMap((load, index) =>
          !hasForesight(policy) && group.cell(policy, load)?.attainment.mean === best[index] ? [index + 1] : [],
        ),
      })),
      { cells: [BOUND, ...group.loads.map((load) => `≤ ${formatPercent(group.bound(load)?.mean)}`)] },
    ],
  };
}

/** Nobody is infinitely fast: 0 stands where no workflow ended. */
function slowdownText(mean: number): string {
  return mean === 0 ? '–' : `${formatNumber(mean)}×`;
}

/** How workflows were served at one load: who was in time, who waited, who was slowed down. */
export function serviceTable(group: CellGroup, load: number): TextTable {
  const cells = cellsAt(group, load);
  const classes = [...new Set(cells.flatMap(({ attainmentByClass }) => Object.keys(attainmentByClass)))];
  return {
    columns: [
      ...['policy', ...classes.map((name) => `${name} in time`), ...classes.map((name) => `${name}, worst 1 % wait`)],
      ...['slowdown p50', 'p99', 'max', 'fairness'],
    ],
    rows: cells.map((cell) => ({
      cells: [
        cell.policy,
        ...classes.map((name) => formatPercent(cell.attainmentByClass[name]?.mean)),
        ...classes.map((name) => {
          const wait = cell.worstWaitSecondsByClass[name]?.mean;
          return wait === undefined ? '–' : `> ${formatMs(wait * 1000)}`;
        }),
        ...[cell.slowdownP50, cell.slowdownP99, cell.slowdownMax].map(({ mean }) => slowdownText(mean)),
        trimmed(cell.fairness.mean, 3),
      ],
    })),
  };
}

/** What the policies made of the fleet at one load: goodput, memory, loads of weights. */
export function costTable(group: CellGroup, load: number): TextTable {
  const cells = cellsAt(group, load);
  const priced = cells.some(({ goodputPerDollar }) => goodputPerDollar !== undefined);
  return {
    columns: [
      ...['policy', 'goodput', 'per GPU', ...(priced ? ['per dollar'] : []), 'KV / max-token', 'KV / used'],
      ...['over-commitment', 'cold-start wait', 'prompt from cache', 'preemptions'],
    ],
    rows: cells.map((cell) => ({
      cells: [
        cell.policy,
        `${formatNumber(cell.goodputPerSecond.mean * 60)} /min`,
        `${formatNumber(cell.goodputPerGpuHour.mean)} /h`,
        ...(priced ? [formatNumber(cell.goodputPerDollar?.mean)] : []),
        formatPercent(cell.reservedOfMaxToken.mean),
        `${trimmed(cell.reservedOfUsed.mean, 2)}×`,
        formatPercent(cell.nodeOverflowRate.mean),
        formatMs(cell.coldStartSeconds.mean * 1000),
        formatPercent(cell.cachedShare.mean),
        formatNumber(cell.preemptions.mean),
      ],
    })),
  };
}

/** Workflows that one policy kept in time and the other did not, with what became of them under each. */
export function lossesTable({ sides, differences }: Losses): TextTable {
  return {
    columns: ['workflow', 'in time under', ...sides.map(({ policy }) => policy)],
    rows: differences.map(({ workflowId, template, sloClass, winner, fates }) => ({
      cells: [`${workflowId} (${template}, ${sloClass})`, winner, ...sides.map(({ policy }) => fates[policy] ?? '–')],
    })),
  };
}

function cellsAt({ policies, cell }: CellGroup, load: number): CellSummary[] {
  return policies.flatMap((policy) => cell(policy, load) ?? []);
}

/** A difference in attainment in points: "−3.1 ± 0.9". */
export function signedPoints({ mean, ci95 }: Estimate): string {
  const size = trimmed(Math.abs(mean) * 100, 1);
  return `${mean < 0 ? '−' : '+'}${size}${ci95 > 0 ? ` ± ${trimmed(ci95 * 100, 1)}` : ''}`;
}
