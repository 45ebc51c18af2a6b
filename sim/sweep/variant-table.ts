import { formatMs, formatPercent, trimmed } from '../report/format.js';
import { type CellSummary, pairedDifference, summarise } from './summary.js';
import { byWorkloadAndRule, percentWithInterval, signedPoints, type TextTable } from './tables.js';
import type { RunRow } from './types.js';

/** What is changed one at a time (ablations, noise, placement) on one workload under one rule. */
export interface VariantGroup {
  readonly workload: string;
  readonly deadlineRule: RunRow['deadlineRule'];
  readonly rows: readonly RunRow[];
}

export function groupVariants(rows: readonly RunRow[]): VariantGroup[] {
  return byWorkloadAndRule(rows).map((members) => {
    const { workload, deadlineRule } = members[0]!;
    return { workload, deadlineRule, rows: members };
  });
}

/**
 * One row for each variant: at each load its attainment and, seed by seed, the difference to `maestro` with nothing changed; what it costs in memory and cold starts at
 * the highest load.
 */
export function variantTable({ rows }: VariantGroup, title: string): TextTable {
  const cells = summarise(rows);
  const names = [...new Set(cells.map(variantName))];
  const loads = [...new Set(cells.map(({ load }) => load))].sort((a, b) => a - b);
  const cellOf = (name: string, load: number) => cells.find((cell) => cell.load === load && variantName(cell) === name);
  const rowsOf = (name: string, load: number) => rows.filter((row) => row.load === load && variantName(row) === name);
  return {
    columns: [
      title,
      ...loads.flatMap((load) => [`load ${trimmed(load, 2)}`, 'difference']),
      ...['KV reserved / max-token', 'cold-start wait', 'prompt from cache'],
    ],
    rows: names.map((name) => {
      const last = cellOf(name, loads.at(-1)!);
      return {
        cells: [
          name,
          ...loads.flatMap((load) => {
            const cell = cellOf(name, load);
            const against = rowsOf(UNCHANGED, load);
            return [
              cell ? percentWithInterval(cell.attainment, cell.seeds) : '–',
              name === UNCHANGED || !cell || against.length === 0
                ? '–'
                : signedPoints(pairedDifference(rowsOf(name, load), against)),
            ];
          }),
          formatPercent(last?.reservedOfMaxToken.mean),
          last ? formatMs(last.coldStartSeconds.mean * 1000) : '–',
          formatPercent(last?.cachedShare.mean),
        ],
      };
    }),
  };
}

/** The name of `maestro` with nothing changed. */
const UNCHANGED = 'maestro';

/** Parts of the node level, as people call them. */
const NODE_PARTS: Readonly<Record<string, string>> = {
  elasticKv: 'elastic KV',
  coLocation: 'co-location',
  firstSleep: 'first sleep at start',
  staging: 'weights in RAM files',
};

type Variant = Pick<CellSummary, 'policy' | 'placement' | 'reservation' | 'prediction' | 'node' | 'prior'>;

export function variantName({ policy, placement, reservation, prediction, node = {}, prior }: Variant): string {
  return [
    policy,
    prior === undefined ? '' : `beginning as ${prior}`,
    placement === 'maestro' ? '' : `placement ${placement}`,
    reservation === 'predicted' ? '' : `reservation ${reservation}`,
    prediction === 'online' ? '' : `prediction ${prediction}`,
    ...Object.entries(node).map(
      ([name, value]) => `${NODE_PARTS[name] ?? name} ${typeof value === 'boolean' ? (value ? 'on' : 'off') : value}`,
    ),
  ]
    .filter((part) => part !== '')
    .join(', ');
}
