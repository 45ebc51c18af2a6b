import { trimmed } from '../report/format.js';
import { figureMarkup } from '../report/html.js';
import { page } from '../report/html-page.js';
import { escapeXml } from '../report/svg/element.js';
import { loadFigure, slowdownFigure } from './charts.js';
import { findings } from './findings.js';
import type { SweepReport } from './report.js';
import { summarise } from './summary.js';
import {
  attainmentTable,
  type CellGroup,
  costTable,
  groupCells,
  serviceTable,
  type TextTable,
  variantTable,
  workloadTable,
} from './tables.js';

/** `report.html` of a sweep: one file, no network and no script. Byte-stable for equal reports. */
export function renderSweepHtml(report: SweepReport): string {
  const groups = groupCells(report.cells);
  return page(report.title, [
    `<header><h1>${escapeXml(report.title)}</h1><ul class="facts"><li><code>${escapeXml(report.command)}</code></li></ul></header>`,
    list(findings(report)),
    section('Workloads', markup(workloadTable(report))),
    `<h2>Attainment against load</h2><div class="figures">${groups.map((group) => figureMarkup(loadFigure(group))).join('\n')}</div>`,
    `<h2>Slowdown</h2><div class="figures">${groups.map((group) => figureMarkup(slowdownFigure(group, report.slowdownPoints))).join('\n')}</div>`,
    ...groups.map(groupSection),
    variants('Ablations', 'what is switched off', report.ablations),
    variants('Noise in the predictions', 'policy and noise', report.noise),
    variants('Placement and memory', 'policy and placement', report.placement),
    section('Notes', list(report.notes)),
  ]);
}

function groupSection(group: CellGroup): string {
  const last = group.loads.at(-1)!;
  return section(
    `${group.workload}, deadlines ${group.deadlineRule}`,
    `${markup(attainmentTable(group))}${group.loads
      .map(
        (load) =>
          `<details${load === last ? ' open' : ''}><summary>At load ${trimmed(load, 2)}</summary>${markup(serviceTable(group, load))}${markup(costTable(group, load))}</details>`,
      )
      .join('')}`,
  );
}

function variants(title: string, column: string, rows: SweepReport['ablations']): string {
  return rows.length === 0 ? '' : section(title, markup(variantTable(summarise(rows), column)));
}

function markup({ columns, rows }: TextTable): string {
  const numeric = columns.map(
    (_, column) => column > 0 && rows.every(({ cells }) => /^[\d<>–−]/.test(cells[column] ?? '–')),
  );
  const head = columns.map((title, column) => cell('th', title, numeric[column] ? 'number' : 'name')).join('');
  const body = rows.map(
    ({ cells, best }) =>
      `<tr>${cells
        .map((text, column) =>
          cell(
            'td',
            text,
            `${numeric[column] ? 'number' : column === 0 ? 'name' : 'text'}${best?.includes(column) ? ' best' : ''}`,
          ),
        )
        .join('')}</tr>`,
  );
  return `<div class="scroll" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function cell(tag: 'th' | 'td', text: string, classes: string): string {
  return `<${tag}${tag === 'th' ? ' scope="col"' : ''} class="${classes}">${escapeXml(text)}</${tag}>`;
}

function list(lines: readonly string[]): string {
  return lines.length === 0
    ? ''
    : `<ul class="notes">${lines.map((line) => `<li>${escapeXml(line)}</li>`).join('')}</ul>`;
}

function section(title: string, body: string): string {
  return body === '' ? '' : `<section><h2>${escapeXml(title)}</h2>${body}</section>`;
}
