import { code, escapeMarkdown, table } from '../report/markdown.js';
import type { SweepReport } from './report.js';
import { type Block, sectionsOf } from './sections.js';
import type { TextTable } from './tables.js';

/** `report.md` of a sweep: all but the pictures. The best policy that serves is marked ◂ in each column. */
export function renderSweepMarkdown(report: SweepReport): string {
  const parts = [
    `# ${escapeMarkdown(report.title)}`,
    code(report.command),
    ...sectionsOf(report).flatMap(({ title, blocks }) => {
      const body = blocks.flatMap(blockText);
      return title === undefined || body.length === 0 ? body : [`## ${escapeMarkdown(title)}`, ...body];
    }),
  ];
  return `${parts.join('\n\n')}\n`;
}

function blockText(block: Block): string[] {
  switch (block.kind) {
    case 'list':
      return [block.lines.map((line) => `- ${escapeMarkdown(line)}`).join('\n')];
    case 'table':
      return [tableText(block.table)];
    case 'figures':
      // A picture that stands alone says in its caption what the table after it tells.
      return block.figures.flatMap(({ title, caption, wide }) =>
        wide ? [`**${escapeMarkdown(title)}**: ${escapeMarkdown(caption)}`] : [],
      );
    case 'fold':
      return [`${escapeMarkdown(block.title)}:`, ...block.tables.map(tableText)];
  }
}

function tableText({ columns, rows }: TextTable): string {
  const marked = rows.map(({ cells, best }) =>
    cells.map((text, column) => (best?.includes(column) ? `${text} ◂` : text)),
  );
  return table(columns, marked);
}
