import { trimmed } from '../report/format.js';
import { code, escapeMarkdown, table } from '../report/markdown.js';
import { findings } from './findings.js';
import type { SweepReport } from './report.js';
import { summarise } from './summary.js';
import {
  attainmentTable,
  costTable,
  groupCells,
  serviceTable,
  type TextTable,
  variantTable,
  workloadTable,
} from './tables.js';

/** `report.md` of a sweep. The best policy that serves is marked ◂ in each column. */
export function renderSweepMarkdown(report: SweepReport): string {
  const variants = [
    ['Ablations', 'what is switched off', report.ablations],
    ['Noise in the predictions', 'policy and noise', report.noise],
    ['Placement and memory', 'policy and placement', report.placement],
  ] as const;
  const parts = [
    `# ${escapeMarkdown(report.title)}`,
    code(report.command),
    list(findings(report)),
    '## Workloads',
    markdownTable(workloadTable(report)),
    ...groupCells(report.cells).flatMap((group) => [
      `## ${escapeMarkdown(group.workload)}, deadlines ${group.deadlineRule}`,
      markdownTable(attainmentTable(group)),
      ...group.loads.flatMap((load) => [
        `At load ${trimmed(load, 2)}:`,
        markdownTable(serviceTable(group, load)),
        markdownTable(costTable(group, load)),
      ]),
    ]),
    ...variants.flatMap(([title, column, rows]) =>
      rows.length === 0 ? [] : [`## ${title}`, markdownTable(variantTable(summarise(rows), column))],
    ),
    ...(report.notes.length === 0 ? [] : ['## Notes', list(report.notes)]),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function markdownTable({ columns, rows }: TextTable): string {
  const marked = rows.map(({ cells, best }) =>
    cells.map((text, column) => (best?.includes(column) ? `${text} ◂` : text)),
  );
  return table(columns, marked);
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${escapeMarkdown(line)}`).join('\n');
}
