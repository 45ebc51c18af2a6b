import { quantile } from '../report/stats.js';
import type { WorkflowRecord } from '../report/types.js';

/** Slowdowns at which every run states its distribution: about a tenth of a decade apart, and wider beyond 200, where few workflows are. */
export const SLOWDOWN_POINTS = [
  ...[1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 12.5, 16, 20, 25],
  ...[32, 40, 50, 64, 80, 100, 128, 160, 200, 320, 500, 1000],
] as const;

/** Rounding of the simulated clock may put a workflow that never waited a hair below its isolated time or above it. */
const TOLERANCE = 1e-6;

/**
 * How workflows were slowed down, end to end over the same workflow alone on an idle fleet. `p50`, `p99` and `max` are of completed ones; `cdf` is the share of **all** whose
 * isolated time is known that completed within each of {@link SLOWDOWN_POINTS}, so that what never completed keeps a curve below 1.
 */
export function slowdownOf(workflows: readonly WorkflowRecord[]): {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly cdf: readonly number[];
} {
  const known = workflows.filter(({ isolatedMs }) => isolatedMs);
  const slowdowns = known.flatMap(({ endMs, arrivalMs, isolatedMs, completed }) =>
    completed && endMs !== undefined ? [(endMs - arrivalMs) / isolatedMs!] : [],
  );
  return {
    p50: quantile(slowdowns, 0.5) ?? 0,
    p99: quantile(slowdowns, 0.99) ?? 0,
    max: slowdowns.reduce((most, each) => Math.max(most, each), 0),
    cdf: SLOWDOWN_POINTS.map((point) => {
      const within = slowdowns.filter((each) => each <= point * (1 + TOLERANCE)).length;
      return known.length === 0 ? 0 : within / known.length;
    }),
  };
}

/**
 * The wait that the worst 1 % of the workflows of each class exceed, seconds: time from arrival to end beyond the isolated time. What did not complete waits until
 * `endOfRunMs`. Classes without a workflow of known isolated time are left out.
 */
export function worstWaitSeconds(workflows: readonly WorkflowRecord[], endOfRunMs: number): Record<string, number> {
  const byClass = new Map<string, number[]>();
  for (const { sloClass, arrivalMs, endMs, completed, isolatedMs } of workflows) {
    if (!isolatedMs) continue;
    const lastMs = completed && endMs !== undefined ? endMs : endOfRunMs;
    const waits = byClass.get(sloClass) ?? [];
    byClass.set(sloClass, waits);
    waits.push(Math.max(0, lastMs - arrivalMs - isolatedMs) / 1000);
  }
  return Object.fromEntries(
    [...byClass].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, waits]) => [name, quantile(waits, 0.99)!]),
  );
}
