import type { RunRow } from './types.js';

/** Mean over seeds with half the width of its 95 % interval (Student's t); 0 for a single run, which says nothing about spread. */
export interface Estimate {
  readonly mean: number;
  readonly ci95: number;
}

/** All seeds of one combination of workload, rule, policy, load and variant. */
export interface CellSummary {
  readonly workload: string;
  readonly deadlineRule: RunRow['deadlineRule'];
  readonly policy: string;
  readonly load: number;
  readonly placement: RunRow['placement'];
  readonly reservation: RunRow['reservation'];
  readonly prediction: string;
  readonly node?: RunRow['node'];
  readonly prior?: string;
  readonly scale?: number;
  readonly seeds: number;
  readonly attainment: Estimate;
  readonly bound: Estimate;
  readonly attainmentByClass: Readonly<Record<string, Estimate>>;
  readonly goodputPerSecond: Estimate;
  readonly goodputPerGpuHour: Estimate;
  /** Where all GPUs of the fleet have a stated price. */
  readonly goodputPerDollar?: Estimate;
  /** Reserved KV memory as a share of what `max_tokens` would have reserved, and times what was used. */
  readonly reservedOfMaxToken: Estimate;
  readonly reservedOfUsed: Estimate;
  readonly nodeOverflowRate: Estimate;
  readonly coldStartSeconds: Estimate;
  readonly slowdownP50: Estimate;
  readonly slowdownP99: Estimate;
  readonly slowdownMax: Estimate;
  /** Mean over the seeds, at each of `slowdownPoints` of the report. */
  readonly slowdownCdf: readonly number[];
  readonly worstWaitSecondsByClass: Readonly<Record<string, Estimate>>;
  readonly preemptions: Estimate;
  readonly cachedShare: Estimate;
  readonly fairness: Estimate;
}

/** One summary for each combination, in the order in which they first come. */
export function summarise(rows: readonly RunRow[]): CellSummary[] {
  const groups = new Map<string, RunRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([
      ...[row.workload, row.deadlineRule, row.policy, row.load],
      ...[row.placement, row.reservation, row.prediction, row.node, row.prior, row.scale],
    ]);
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  return [...groups.values()].map(summaryOf);
}

function summaryOf(rows: readonly RunRow[]): CellSummary {
  const { workload, deadlineRule, policy, load, placement, reservation, prediction, node, prior, scale } = rows[0]!;
  const over = (value: (row: RunRow) => number) => estimate(rows.map(value));
  const classes = classesOf(rows, (row) => row.attainmentByClass);
  return {
    ...{ workload, deadlineRule, policy, load, placement, reservation, prediction },
    ...(node === undefined ? {} : { node }),
    ...(prior === undefined ? {} : { prior }),
    ...(scale === undefined ? {} : { scale }),
    seeds: rows.length,
    attainment: over((row) => row.attainment),
    bound: over((row) => row.bound),
    attainmentByClass: Object.fromEntries(
      classes.map((name) => [name, over((row) => row.attainmentByClass[name] ?? 0)]),
    ),
    goodputPerSecond: over((row) => row.goodputPerSecond),
    goodputPerGpuHour: over((row) => row.goodputPerGpuHour),
    ...(rows.some((row) => row.goodputPerDollar === undefined)
      ? {}
      : { goodputPerDollar: over((row) => row.goodputPerDollar!) }),
    reservedOfMaxToken: over(({ kv }) => ratio(kv.reservedByteSeconds, kv.maxTokenByteSeconds)),
    reservedOfUsed: over(({ kv }) => ratio(kv.reservedByteSeconds, kv.usedByteSeconds)),
    nodeOverflowRate: over(({ kv }) => kv.nodeOverflowRate),
    coldStartSeconds: over(({ coldStarts }) => coldStarts.requestSeconds),
    slowdownP50: over(({ slowdown }) => slowdown.p50),
    slowdownP99: over(({ slowdown }) => slowdown.p99),
    slowdownMax: over(({ slowdown }) => slowdown.max),
    slowdownCdf: rows[0]!.slowdown.cdf.map((_, point) => over(({ slowdown }) => slowdown.cdf[point]!).mean),
    worstWaitSecondsByClass: Object.fromEntries(
      classesOf(rows, (row) => row.worstWaitSecondsByClass).map((name) => [
        name,
        estimate(rows.flatMap((row) => row.worstWaitSecondsByClass[name] ?? [])),
      ]),
    ),
    preemptions: over((row) => row.preemptions),
    cachedShare: over((row) => row.cachedShare),
    fairness: over((row) => row.fairness),
  };
}

function classesOf(rows: readonly RunRow[], byClass: (row: RunRow) => Readonly<Record<string, number>>): string[] {
  return [...new Set(rows.flatMap((row) => Object.keys(byClass(row))))].sort();
}

/** Two-sided 95 % quantiles of Student's t by degrees of freedom 1–30; beyond, those of the normal distribution are near enough. */
const T95 = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228],
  ...[2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086],
  ...[2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
] as const;

export function estimate(values: readonly number[]): Estimate {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, count);
  if (count < 2) return { mean, ci95: 0 };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, ci95: (T95[count - 2] ?? 1.96) * Math.sqrt(variance / count) };
}

/** Interval of the difference of two policies, run by run on equal workloads and seeds, which takes the luck of a seed out of it. */
export function pairedDifference(rows: readonly RunRow[], others: readonly RunRow[]): Estimate {
  const bySeed = new Map(others.map((row) => [row.seed, row.attainment]));
  return estimate(rows.flatMap(({ seed, attainment }) => (bySeed.has(seed) ? [attainment - bySeed.get(seed)!] : [])));
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
