import { formatKvSeconds, formatMs, formatNumber, formatPercent, formatRate, formatRatio } from './format.js';
import type { Report, RequestStats, WorkflowStats } from './schema.js';

export interface TerminalOptions {
  /** Columns of the terminal; columns of the table are left out, the least telling first, until it fits. */
  readonly width: number;
  readonly colour: boolean;
}

type Row = WorkflowStats & { readonly name: string; readonly requests: RequestStats };

interface Column {
  readonly head: string;
  /** The lowest goes first when the terminal is narrow; undefined always stays. */
  readonly rank?: number;
  /** @param all The row of all classes, which chooses the unit. */
  cell(row: Row, all: Row): string;
}

const COLUMNS: readonly Column[] = [
  { head: 'class', cell: (row) => row.name },
  { head: 'workflows', rank: 8, cell: (row) => formatNumber(row.workflows) },
  { head: 'attainment', cell: (row) => formatPercent(row.attainment) },
  { head: 'goodput', rank: 9, cell: (row, all) => formatRate(row.goodputPerSecond, all.goodputPerSecond) },
  { head: 'run p50', rank: 7, cell: (row) => formatMs(row.durationMs.p50) },
  { head: 'p95', rank: 7, cell: (row) => formatMs(row.durationMs.p95) },
  { head: 'slowdown', rank: 1, cell: (row) => formatRatio(row.slowdown.p50) },
  { head: 'TTFT p50', rank: 6, cell: (row) => formatMs(row.requests.ttftMs.p50) },
  { head: 'p95', rank: 6, cell: (row) => formatMs(row.requests.ttftMs.p95) },
  { head: 'TPOT p50', rank: 5, cell: (row) => formatMs(row.requests.tpotMs.p50) },
  { head: 'queue p95', rank: 4, cell: (row) => formatMs(row.requests.queueMs.p95) },
  { head: 'cold starts', rank: 3, cell: (row) => coldStarts(row.requests) },
];

const GAP = '  ';
const ESC = '\u001b[';

/** The report in a few lines, for the end of a run in a terminal. No trailing newline. */
export function renderTerminal(report: Report, options: TerminalOptions): string {
  const rows: Row[] = [...report.classes, { ...report.overall, name: 'all' }];
  const lines = [paint(printable(report.title), '1', options)];
  if (report.subtitle !== null) lines.push(paint(printable(report.subtitle), '2', options));
  lines.push('', ...tableLines(rows, options), '');
  lines.push(...factLines(report).map((line) => clip(line, options.width)));
  return lines.join('\n');
}

function tableLines(rows: readonly Row[], options: TerminalOptions): string[] {
  let columns = COLUMNS;
  const all = rows.at(-1)!;
  const widthsOf = (some: readonly Column[]): number[] =>
    some.map(({ head, cell }) => Math.max(head.length, ...rows.map((row) => printable(cell(row, all)).length)));
  const total = (widths: readonly number[]): number =>
    widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
  while (total(widthsOf(columns)) > options.width) {
    const ranks = columns.map(({ rank }) => rank ?? Number.POSITIVE_INFINITY);
    const lowest = Math.min(...ranks);
    if (lowest === Number.POSITIVE_INFINITY) break;
    columns = columns.filter(({ rank }) => rank !== lowest);
  }
  const widths = widthsOf(columns);
  const line = (cells: readonly string[]): string[] =>
    cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!)));
  const body = rows.map((row, rowIndex) => {
    const cells = line(columns.map(({ cell }) => printable(cell(row, all))));
    return cells
      .map((cell, index) => {
        if (columns[index]!.head === 'attainment') return paint(cell, attainmentColour(row.attainment), options);
        return rowIndex === rows.length - 1 ? paint(cell, '1', options) : cell;
      })
      .join(GAP);
  });
  return [paint(line(columns.map(({ head }) => head)).join(GAP), '2', options), ...body];
}

function factLines(report: Report): string[] {
  const { kv, outcomes } = report;
  const lines: string[] = [];
  if (kv !== null) {
    lines.push(
      `KV       reserved ${formatKvSeconds(kv.reservedByteSeconds, kv.unit)} = ${formatPercent(kv.reservedOverMaxToken)} of max-token ` +
        `(${formatKvSeconds(kv.maxTokenByteSeconds, kv.unit)}), ${formatRatio(kv.reservedOverUsed)} of used`,
    );
  }
  const preempted = report.preemptions === null ? '' : `, preemptions ${formatNumber(report.preemptions)}`;
  const entries = Object.entries(outcomes).map(([name, count]) => `${printable(name)} ${formatNumber(count)}`);
  lines.push(`outcomes ${entries.join(', ') || 'no requests'}${preempted}`);
  if (report.overall.failed + report.overall.unfinished > 0) {
    const { failed, unfinished } = report.overall;
    lines.push(`misses   ${formatNumber(failed)} workflows failed, ${formatNumber(unfinished)} unfinished`);
  }
  return lines;
}

function coldStarts({ coldStartMs }: RequestStats): string {
  return coldStartMs.count === 0 ? '0' : `${coldStartMs.count} × ${formatMs(coldStartMs.mean)}`;
}

/** Green, yellow, red: where a reader looks first. */
function attainmentColour(attainment: number | null): string {
  if (attainment === null) return '2';
  return attainment >= 0.95 ? '1;32' : attainment >= 0.8 ? '1;33' : '1;31';
}

function paint(text: string, code: string, { colour }: TerminalOptions): string {
  return colour ? `${ESC}${code}m${text}${ESC}0m` : text;
}

function clip(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(1, width - 1))}…`;
}

/** Names from outside must not move the cursor or colour the terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '�');
}
