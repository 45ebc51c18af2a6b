import type { ReportClass, WorkflowRecord } from '../../sim/report/types.js';

/** Latency targets of a stage for each kind: MLPerf's server limits for an 8B model; nobody waits for batch. */
const INTERACTIVE_TARGETS = { ttftMs: 2000, tpotMs: 100 };

/**
 * The SLO classes of a replay, as far as a client can know them: deadlines are those that most of the class's workflows had; a class
 * whose name begins with `batch` has no latency targets.
 */
export function classesOf(workflows: readonly WorkflowRecord[]): ReportClass[] {
  const allowances = new Map<string, Map<number, number>>();
  for (const { sloClass, arrivalMs, deadlineMs } of workflows) {
    const counts = allowances.get(sloClass) ?? new Map<number, number>();
    const allowance = Math.round(deadlineMs - arrivalMs);
    counts.set(allowance, (counts.get(allowance) ?? 0) + 1);
    allowances.set(sloClass, counts);
  }
  return [...allowances]
    .sort(([a], [b]) => (a < b ? 1 : -1))
    .map(([name, counts]) => {
      const deadlineMs = [...counts].sort(([a, m], [b, n]) => n - m || a - b)[0]![0];
      return name.startsWith('batch')
        ? { name, kind: 'batch', deadlineMs }
        : { name, kind: 'interactive', deadlineMs, ...INTERACTIVE_TARGETS };
    });
}
