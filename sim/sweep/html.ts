import { figureMarkup } from '../report/html.js';
import { page } from '../report/html-page.js';
import { escapeXml } from '../report/svg/element.js';
import type { SweepReport } from './report.js';
import { type Block, sectionsOf } from './sections.js';
import type { TextTable } from './tables.js';

/** `report.html` of a sweep: one file, no network and no script. Byte-stable for equal reports. */
export function renderSweepHtml(report: SweepReport): string {
  return page(report.title, [
    `<header><h1>${escapeXml(report.title)}</h1><ul class="facts"><li><code>${escapeXml(report.command)}</code></li></ul></header>`,
    ...sectionsOf(report).map(({ title, blocks }) => {
      const body = blocks.map(blockMarkup).join('');
      return title === undefined ? body : `<section><h2>${escapeXml(title)}</h2>${body}</section>`;
    }),
  ]);
}

function blockMarkup(block: Block): string {
  switch (block.kind) {
    case 'list':
      return `<ul class="notes">${block.lines.map((line) => `<li>${escapeXml(line)}</li>`).join('')}</ul>`;
    case 'table':
      return tableMarkup(block.table);
    case 'figures':
      return `<div class="figures">${block.figures.map(figureMarkup).join('\n')}</div>`;
    case 'fold':
      return `<details${block.open ? ' open' : ''}><summary>${escapeXml(block.title)}</summary>${block.tables.map(tableMarkup).join('')}</details>`;
  }
}

/** Tables of at most so many columns are no wider than they need be, so that the eye stays in the row. */
const FEW_COLUMNS = 5;

function tableMarkup({ columns, rows }: TextTable): string {
  const numeric = columns.map(
    (_, column) => column > 0 && rows.every(({ cells }) => /^[\d<>≤–−+]/.test(cells[column] ?? '–')),
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
  return `<div class="scroll" tabindex="0"><table${columns.length <= FEW_COLUMNS ? ' class="few"' : ''}><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function cell(tag: 'th' | 'td', text: string, classes: string): string {
  return `<${tag}${tag === 'th' ? ' scope="col"' : ''} class="${classes}">${escapeXml(text)}</${tag}>`;
}
