import { attainmentFigure } from './charts/attainment.js';
import { cdfFigures } from './charts/cdf.js';
import type { Figure, LegendItem } from './charts/figure.js';
import { ganttFigure } from './charts/gantt.js';
import { hbmFigure, kvFigure } from './charts/memory.js';
import { queueFigure } from './charts/queue.js';
import { outcomeFigure, PHASE_LEGEND, phaseFigure } from './charts/shares.js';
import { timelineFigure } from './charts/timeline.js';
import { counted, formatMs, formatNumber, MISSING } from './format.js';
import { page } from './html-page.js';
import {
  definitionTable,
  engineTable,
  missedTable,
  requestGroupTable,
  requestTable,
  workflowGroupTable,
  workflowTable,
} from './html-tables.js';
import { tiles, verdict } from './html-tiles.js';
import type { Report } from './schema.js';
import { escapeXml } from './svg/element.js';
import type { ReportInput } from './types.js';

/** `report.html`: one file that needs nothing else, no network and no script. Byte-stable for equal inputs. */
export function renderHtml(report: Report, input: ReportInput): string {
  const figures = [
    attainmentFigure(report, input),
    ...cdfFigures(report, input),
    queueFigure(report, input),
    phaseFigure(report),
    outcomeFigure(report),
    kvFigure(input),
    timelineFigure(input),
    hbmFigure(input),
    ganttFigure(report, input),
  ].filter((figure) => figure !== undefined);
  return page(report.title, [
    header(report),
    verdict(report),
    tiles(report),
    figures.length === 0 ? '' : `<h2>Charts</h2>\n<div class="figures">${figures.map(figureMarkup).join('\n')}</div>`,
    section('Workflows', workflowTable(report)),
    section('Requests', requestTable(report)),
    missedSection(report, missedTable(report)),
    section('Details', details(report)),
    notes(report),
    section('What the numbers mean', definitionTable(report)),
  ]);
}

function header({ title, subtitle, run }: Report): string {
  const facts: [string, string][] = [
    ['trace', run.trace],
    ['policy', run.policies.join(', ') || MISSING],
    [
      'run',
      `${formatMs(run.durationMs)}${run.warmupMs > 0 ? `, first ${formatMs(run.warmupMs)} not counted (${counted(run.warmupWorkflows, 'workflow')})` : ''}`,
    ],
    ...(run.startedAt === null ? [] : [['time', timeOf(run)] satisfies [string, string]]),
    ...(run.seed === null ? [] : [['seed', String(run.seed)] satisfies [string, string]]),
    ['machine', run.machine],
    ...(run.startedAt === null ? [] : [['started', run.startedAt] satisfies [string, string]]),
  ];
  const list = facts.map(([name, value]) => `<li>${name} <b>${escapeXml(value)}</b></li>`).join('');
  return [
    `<header><h1>${escapeXml(title)}</h1>`,
    subtitle === null ? '' : `<p class="subtitle">${escapeXml(subtitle)}</p>`,
    `<ul class="facts">${list}<li><code>${escapeXml(run.command)}</code></li></ul></header>`,
  ].join('');
}

function timeOf({ timeScale }: Report['run']): string {
  return timeScale === 1 ? 'real' : `emulated, ${formatNumber(timeScale)}× real time`;
}

/** A chart with its caption and legend. */
export function figureMarkup(figure: Figure): string {
  return [
    `<figure${figure.wide ? ' class="wide"' : ''}>`,
    `<figcaption><h3>${escapeXml(figure.title)}</h3><p>${escapeXml(figure.caption)}</p></figcaption>`,
    legendMarkup(figure.legend),
    `<div class="scroll">${figure.svg}</div>`,
    '</figure>',
  ].join('');
}

function legendMarkup(legend: readonly LegendItem[]): string {
  if (legend.length === 0) return '';
  const items = legend.map(
    ({ label, swatch, shape }) => `<li><span class="key ${shape ?? 'full'} ${swatch}"></span>${escapeXml(label)}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}

/** The workflows that went wrong, or, when none did, those that came closest. */
function missedSection({ overall, missed }: Report, table: string): string {
  if (missed.length === 0) return '';
  const misses = overall.workflows - overall.met;
  const shown = missed.filter(({ result }) => result !== 'met').length;
  const title = misses > 0 ? 'Missed and slowest workflows' : 'Workflows closest to their deadline';
  const lead = misses > shown ? `The worst ${shown} of ${formatNumber(misses)} misses. ` : '';
  return section(
    title,
    `<p class="lead">${lead}Furthest over the deadline first; the bar cuts the duration into phases.</p>${legendMarkup(PHASE_LEGEND)}${table}`,
  );
}

/** Tables by model, role and so on, folded away. */
function details(report: Report): string {
  const tables: [title: string, rows: number, markup: () => string][] = [
    ['By model', report.models.length, () => requestGroupTable('model', report.models)],
    ['By role', report.roles.length, () => requestGroupTable('role', report.roles)],
    ['By template', report.templates.length, () => workflowGroupTable('template', report.templates, report)],
    [
      'By tenant',
      report.tenants.length > 1 ? report.tenants.length : 0,
      () => workflowGroupTable('tenant', report.tenants, report),
    ],
    ['By node', report.nodes.length, () => requestGroupTable('node', report.nodes)],
    ['By engine', report.engines.length, () => requestGroupTable('engine', report.engines)],
    ['Engine states and load', report.fleet.engines.length, () => engineTable(report)],
  ];
  return tables
    .filter(([, rows]) => rows > 0)
    .map(([title, rows, markup]) => `<details><summary>${title} (${rows})</summary>${markup()}</details>`)
    .join('\n');
}

function notes({ run, preemptions }: Report): string {
  const lines = [
    ...run.notes,
    ...(preemptions === null
      ? []
      : [`Preemptions inside the engines over the whole run: ${formatNumber(preemptions)}.`]),
  ];
  if (lines.length === 0) return '';
  return section('Notes', `<ul class="notes">${lines.map((line) => `<li>${escapeXml(line)}</li>`).join('')}</ul>`);
}

function section(title: string, body: string): string {
  return body === '' ? '' : `<section><h2>${title}</h2>${body}</section>`;
}
