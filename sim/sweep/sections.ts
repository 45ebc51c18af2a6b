import type { Figure } from '../report/charts/figure.js';
import { trimmed } from '../report/format.js';
import { changeFigure, changeTable } from './change-view.js';
import { loadFigure, slowdownFigure } from './charts.js';
import { findings } from './findings.js';
import { lossesFigure } from './losses-figure.js';
import type { SweepReport } from './report.js';
import { roomTable } from './room-table.js';
import { scaleTables } from './scale-table.js';
import {
  attainmentTable,
  type CellGroup,
  costTable,
  groupCells,
  lossesTable,
  serviceTable,
  type TextTable,
  workloadTable,
} from './tables.js';
import { groupVariants, variantTable } from './variant-table.js';

/** What a section holds; a form that has no pictures leaves figures out. */
export type Block =
  | { readonly kind: 'list'; readonly lines: readonly string[] }
  | { readonly kind: 'table'; readonly table: TextTable }
  | { readonly kind: 'figures'; readonly figures: readonly Figure[] }
  /** Parts that a reader may want folded. */
  | { readonly kind: 'fold'; readonly title: string; readonly open: boolean; readonly tables: readonly TextTable[] };

export interface Section {
  /** Absent for what stands right under the title of the report. */
  readonly title?: string;
  readonly blocks: readonly Block[];
}

/** Of the tables of {@link groupSection}. */
const MEANINGS = [
  'in time: workflows that finished within their deadline, of those that arrived after the warm-up. ±: 95 % interval over the seeds.',
  'marked (◂ or green): the highest mean of the policies that serve; where intervals overlap, another may be as good.',
  'possible: what is left up to the bound that no policy can exceed.',
  'worst 1 % wait: time beyond that of the same workflow alone on an idle fleet, which one workflow in a hundred exceeds.',
  'slowdown: time of a workflow over that alone on an idle fleet. Of completed ones.',
  'fairness: Jain’s index over the attainment of tenants; 1 is equal.',
  'goodput: workflows in time, for each minute of arrivals, hour of a GPU, and dollar.',
  'KV: memory that was promised, beside what max_tokens would promise and beside what was used. over-commitment: share of the time windows of a node in which more was used than promised.',
  'cold-start wait: time that calls waited for weights, in sum over a run. prompt from cache: prompt tokens that were not computed again.',
];

/** The report of a sweep from top to bottom, whatever it is written as. */
export function sectionsOf(report: SweepReport): Section[] {
  const groups = groupCells(report.cells);
  const changing = new Set(report.workloads.flatMap(({ name, phases }) => (phases ? [name] : [])));
  const steady = groups.filter(({ workload }) => !changing.has(workload));
  const sections: Section[] = [
    { blocks: [{ kind: 'list', lines: findings(report) }] },
    { title: 'Workloads', blocks: [tableBlock(workloadTable(report))] },
    {
      title: 'Attainment against load',
      blocks: [figures(steady.filter(({ loads }) => loads.length > 1).map(loadFigure))],
    },
    { title: 'Slowdown', blocks: [figures(groups.map((group) => slowdownFigure(group, report.slowdownPoints)))] },
    ...groups.map((group) => groupSection(group, report)),
    {
      title: 'When the traffic changes',
      blocks: groups
        .filter(({ workload }) => changing.has(workload))
        .flatMap((group) => [figures([changeFigure(report, group)]), tableBlock(changeTable(report, group))]),
    },
    {
      title: 'Who loses where, and why',
      blocks: report.losses.flatMap((losses) => [figures([lossesFigure(losses)]), tableBlock(lossesTable(losses))]),
    },
    ...variants('Ablations', 'what is switched off', report.ablations),
    ...variants('Contexts in a tool call', 'what is kept', report.retention),
    ...variants('Noise in the predictions', 'policy and noise', report.noise),
    ...variants('Placement and memory', 'policy and placement', report.placement),
    ...scaleTables(report.scale).map(({ workload, deadlineRule, table }) => ({
      title: `As the fleet grows: ${workload}, deadlines ${deadlineRule}`,
      blocks: [tableBlock(table)],
    })),
    { title: 'Notes', blocks: [{ kind: 'list', lines: report.notes }] },
    ...(groups.length > 0 ? [{ title: 'What the numbers mean', blocks: [list(MEANINGS)] }] : []),
  ];
  return sections.filter(({ blocks }) => blocks.some(isFilled));
}

function groupSection(group: CellGroup, { runs }: SweepReport): Section {
  const last = group.loads.at(-1);
  const room = roomTable(group, runs);
  return {
    title: `${group.workload}, deadlines ${group.deadlineRule}`,
    blocks: [
      list([sampleOf(group, runs)]),
      tableBlock(attainmentTable(group)),
      ...(room ? [tableBlock(room)] : []),
      ...group.loads.map((load): Block => {
        const tables = [serviceTable(group, load), costTable(group, load)];
        return { kind: 'fold', title: `At load ${trimmed(load, 2)}`, open: load === last, tables };
      }),
    ],
  };
}

/** How much each figure of a group is the mean of. */
function sampleOf({ workload, deadlineRule }: CellGroup, runs: SweepReport['runs']): string {
  const own = runs.filter((run) => run.workload === workload && run.deadlineRule === deadlineRule);
  const seeds = new Set(own.map(({ seed }) => seed)).size;
  const counts = own.map(({ workflows }) => workflows);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const counted = least === most ? `${least}` : `${least} to ${most}`;
  return `n = ${seeds} ${seeds === 1 ? 'run (seed)' : 'runs (seeds)'} of each policy and load, each of ${counted} workflows after the warm-up.`;
}

function variants(title: string, column: string, rows: SweepReport['ablations']): Section[] {
  return groupVariants(rows).map((group) => ({
    title: `${title}: ${group.workload}, deadlines ${group.deadlineRule}`,
    blocks: [tableBlock(variantTable(group, column))],
  }));
}

function list(lines: readonly string[]): Block {
  return { kind: 'list', lines };
}

function tableBlock(table: TextTable): Block {
  return { kind: 'table', table };
}

function figures(all: readonly Figure[]): Block {
  return { kind: 'figures', figures: all };
}

function isFilled(block: Block): boolean {
  if (block.kind === 'list') return block.lines.length > 0;
  if (block.kind === 'figures') return block.figures.length > 0;
  return true;
}
