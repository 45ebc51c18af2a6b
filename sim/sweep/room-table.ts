import { trimmed } from '../report/format.js';
import { hasForesight } from './policy-names.js';
import { estimate, pairedDifference } from './summary.js';
import { type CellGroup, signedPoints, type TextTable } from './tables.js';
import type { RunRow } from './types.js';

/** Whom `maestro` is measured against: what most systems do, and what is hardest to beat without predictions. */
const RIVALS = ['edf', 'fcfs'];

/**
 * What `maestro` gains on its rivals and on the best policy with foresight at each load, and how much any policy could gain on them at most: what is left up to the bound. Undefined where
 * there is nobody to compare.
 */
export function roomTable(
  { policies, loads, workload, deadlineRule }: CellGroup,
  runs: readonly RunRow[],
): TextTable | undefined {
  // Policies stand in the order of their attainment.
  const rivals = [...RIVALS, ...policies.filter(hasForesight).slice(0, 1)].filter((name) => policies.includes(name));
  if (!policies.includes('maestro') || rivals.length === 0) return undefined;
  const own = runs.filter((row) => row.workload === workload && row.deadlineRule === deadlineRule);
  const at = (policy: string, load: number) => own.filter((row) => row.policy === policy && row.load === load);
  return {
    columns: ['maestro against', ...loads.flatMap((load) => [`load ${trimmed(load, 2)}`, 'possible'])],
    rows: rivals.map((rival) => ({
      cells: [
        rival,
        ...loads.flatMap((load) => {
          const rows = at(rival, load);
          if (rows.length === 0) return ['–', '–'];
          const room = estimate(rows.map(({ bound, attainment }) => bound - attainment));
          return [signedPoints(pairedDifference(at('maestro', load), rows)), `≤ ${signedPoints({ ...room, ci95: 0 })}`];
        }),
      ],
    })),
  };
}
