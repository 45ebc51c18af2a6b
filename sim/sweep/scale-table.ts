import { formatNumber } from '../report/format.js';
import { summarise } from './summary.js';
import { byWorkloadAndRule, percentWithInterval, type TextTable } from './tables.js';
import type { RunRow } from './types.js';

/** A curve over the size of the fleet for each workload and rule of the rows. */
export function scaleTables(
  rows: readonly RunRow[],
): { readonly workload: string; readonly deadlineRule: RunRow['deadlineRule']; readonly table: TextTable }[] {
  return byWorkloadAndRule(rows).map((members) => {
    const { workload, deadlineRule } = members[0]!;
    return { workload, deadlineRule, table: scaleTable(members) };
  });
}

/** For each size the share in time under each policy, and what a GPU gets done. */
function scaleTable(rows: readonly RunRow[]): TextTable {
  const cells = summarise(rows);
  const policies = [...new Set(cells.map(({ policy }) => policy))];
  const sizes = [...new Set(cells.map(({ scale = 1 }) => scale))].sort((a, b) => a - b);
  return {
    columns: ['fleet', ...policies.flatMap((policy) => [policy, 'in time per GPU'])],
    rows: sizes.map((size) => ({
      cells: [
        `${size}×`,
        ...policies.flatMap((policy) => {
          const cell = cells.find((each) => each.policy === policy && (each.scale ?? 1) === size);
          return cell
            ? [percentWithInterval(cell.attainment, cell.seeds), `${formatNumber(cell.goodputPerGpuHour.mean)} /h`]
            : ['–', '–'];
        }),
      ],
    })),
  };
}
