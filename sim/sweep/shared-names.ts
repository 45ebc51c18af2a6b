import type { SweepWorkload } from './types.js';

/**
 * The same workloads, in which equal strings are one string. What comes out of a message has a string of its own in every field of every row; whoever looks something up by a name has to hash it,
 * and compare it letter by letter with the one that is kept.
 */
export function shareNames(workloads: readonly SweepWorkload[]): SweepWorkload[] {
  const known = new Map<string, string>();
  const share = <T extends object>(fields: T): T => {
    const shared: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(fields)) shared[name] = typeof value === 'string' ? same(value) : value;
    return shared as T;
  };
  const same = (value: string): string => {
    const first = known.get(value);
    if (first !== undefined) return first;
    known.set(value, value);
    return value;
  };
  return workloads.map((workload) => ({
    ...workload,
    workflows: workload.workflows.map((workflow) => share({ ...workflow, rows: workflow.rows.map(share) })),
  }));
}
