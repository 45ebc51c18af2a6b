import { PHASE_LABELS, PHASES } from './breakdown.js';
import { PHASE_CLASSES } from './charts/shares.js';
import { formatMs, formatNumber, formatPercent, formatRate, formatRatio, MISSING } from './format.js';
import type { Report, RequestGroup, RequestStats, WorkflowGroup } from './schema.js';
import { escapeXml } from './svg/element.js';

interface Column<Row> {
  readonly head: string;
  readonly kind: 'name' | 'number' | 'why' | 'text';
  /** Markup of the cell. */
  cell(row: Row): string;
}

/** A table that scrolls sideways where the page is too narrow for it. */
function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], isTotal?: (row: Row) => boolean): string {
  const head = columns.map(({ head, kind }) => `<th scope="col" class="${kind}">${escapeXml(head)}</th>`).join('');
  const body = rows.map((row) => {
    const cells = columns.map(({ kind, cell }) => `<td class="${kind}">${cell(row)}</td>`).join('');
    return `<tr${isTotal?.(row) ? ' class="total"' : ''}>${cells}</tr>`;
  });
  return `<div class="scroll" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function number<Row>(head: string, cell: (row: Row) => string): Column<Row> {
  return { head, kind: 'number', cell };
}

function name<Row extends { readonly name: string }>(head: string): Column<Row> {
  return { head, kind: 'name', cell: (row) => escapeXml(row.name) };
}

type ClassRow = Report['overall'] & { readonly name: string; readonly deadlineMs: number | null };

function classRows(report: Report): ClassRow[] {
  return [...report.classes, { ...report.overall, name: 'all', deadlineMs: null }];
}

const isAll = (row: { readonly name: string }): boolean => row.name === 'all';

export function workflowTable(report: Report): string {
  return table<ClassRow>(
    classRows(report),
    [name('class'), number('deadline', (row) => formatMs(row.deadlineMs)), ...workflowColumns<ClassRow>(report)],
    isAll,
  );
}

function workflowColumns<Row extends Omit<WorkflowGroup, 'name'>>({ overall }: Report): Column<Row>[] {
  return [
    number('workflows', (row) => formatNumber(row.workflows)),
    number('attainment', (row) => formatPercent(row.attainment)),
    number('goodput', (row) => formatRate(row.goodputPerSecond, overall.goodputPerSecond)),
    number('late', (row) => formatNumber(row.completed - row.met)),
    number('failed', (row) => formatNumber(row.failed)),
    number('unfinished', (row) => formatNumber(row.unfinished)),
    number('duration p50', (row) => formatMs(row.durationMs.p50)),
    number('p95', (row) => formatMs(row.durationMs.p95)),
    number('p99', (row) => formatMs(row.durationMs.p99)),
    number('slowdown p50', (row) => formatRatio(row.slowdown.p50)),
    number('p95', (row) => formatRatio(row.slowdown.p95)),
  ];
}

export function workflowGroupTable(head: string, rows: readonly WorkflowGroup[], report: Report): string {
  return table(rows, [name<WorkflowGroup>(head), ...workflowColumns<WorkflowGroup>(report)]);
}

function requestColumns<Row>(of: (row: Row) => RequestStats): Column<Row>[] {
  const share = ({ stages, stagesGood }: RequestStats): number | null => (stages > 0 ? stagesGood / stages : null);
  return [
    number('requests', (row) => formatNumber(of(row).stages)),
    number('within targets', (row) => formatPercent(share(of(row)))),
    number('TTFT p50', (row) => formatMs(of(row).ttftMs.p50)),
    number('p95', (row) => formatMs(of(row).ttftMs.p95)),
    number('TPOT p50', (row) => formatMs(of(row).tpotMs.p50)),
    number('p95', (row) => formatMs(of(row).tpotMs.p95)),
    number('ITL p99', (row) => formatMs(of(row).itlMs.p99)),
    number('E2EL p50', (row) => formatMs(of(row).e2elMs.p50)),
    number('p95', (row) => formatMs(of(row).e2elMs.p95)),
    number('queue p50', (row) => formatMs(of(row).queueMs.p50)),
    number('p95', (row) => formatMs(of(row).queueMs.p95)),
    number('cold starts', (row) => {
      const { coldStartMs } = of(row);
      return coldStartMs.count === 0 ? '0' : `${coldStartMs.count} × ${formatMs(coldStartMs.mean)}`;
    }),
  ];
}

export function requestTable(report: Report): string {
  return table<ClassRow>(classRows(report), [name('class'), ...requestColumns<ClassRow>((row) => row.requests)], isAll);
}

export function requestGroupTable(head: string, rows: readonly RequestGroup[]): string {
  return table(rows, [
    name<RequestGroup>(head),
    ...requestColumns<RequestGroup>((row) => row),
    number<RequestGroup>('prompt tokens', (row) => formatNumber(row.promptTokens)),
    number<RequestGroup>('output tokens', (row) => formatNumber(row.outputTokens)),
    number<RequestGroup>('cached', (row) => formatPercent(row.cachedPromptShare)),
  ]);
}

export function engineTable(report: Report): string {
  return table(report.fleet.engines, [
    { head: 'node', kind: 'name', cell: (row) => escapeXml(row.nodeId) },
    { head: 'engine', kind: 'name', cell: (row) => escapeXml(row.engineId) },
    { head: 'model', kind: 'name', cell: (row) => escapeXml(row.model) },
    {
      head: 'time in states',
      kind: 'text',
      cell: (row) =>
        escapeXml(
          Object.entries(row.stateShare)
            .map(([state, share]) => `${state} ${formatPercent(share, 0)}`)
            .join(', '),
        ) || MISSING,
    },
    number('changes', (row) => formatNumber(row.stateChanges)),
    number('running mean', (row) => formatNumber(row.meanRunning)),
    number('max', (row) => formatNumber(row.maxRunning)),
    number('waiting max', (row) => formatNumber(row.maxWaiting)),
    number('KV reserved mean', (row) => formatNumber(row.meanKvReservedTokens)),
    number('used mean', (row) => formatNumber(row.meanKvUsedTokens)),
    number('pool, tokens', (row) => formatNumber(row.kvPoolTokens)),
  ]);
}

export function missedTable(report: Report): string {
  return table(report.missed, [
    { head: 'workflow', kind: 'name', cell: (row) => escapeXml(row.workflowId) },
    { head: 'template', kind: 'name', cell: (row) => escapeXml(row.template) },
    { head: 'class', kind: 'text', cell: (row) => escapeXml(row.sloClass) },
    {
      head: 'result',
      kind: 'text',
      cell: (row) => (row.result === 'met' ? 'in time' : `<span class="poor">${row.result}</span>`),
    },
    number('duration', (row) => formatMs(row.durationMs)),
    number('deadline', (row) => formatMs(row.deadlineMs)),
    number('slowdown', (row) => formatRatio(row.slowdown)),
    number('stages', (row) => formatNumber(row.stages)),
    {
      head: 'where the time went',
      kind: 'why',
      cell: (row) => {
        const total = PHASES.reduce((sum, phase) => sum + row.phasesMs[phase], 0);
        const parts = PHASES.filter((phase) => row.phasesMs[phase] > 0);
        const title = parts.map((phase) => `${PHASE_LABELS[phase]} ${formatMs(row.phasesMs[phase])}`).join(', ');
        const bars = parts.map(
          (phase) =>
            `<i class="${PHASE_CLASSES[phase]}" style="width:${((row.phasesMs[phase] / total) * 100).toFixed(1)}%"></i>`,
        );
        return `${escapeXml(row.why)}<span class="split" role="img" aria-label="${title}" title="${title}">${bars.join('')}</span>`;
      },
    },
  ]);
}

export function definitionTable(report: Report): string {
  return table(report.definitions, [
    { head: 'metric', kind: 'name', cell: (row) => escapeXml(row.metric) },
    { head: 'unit', kind: 'text', cell: (row) => escapeXml(row.unit) },
    { head: 'meaning', kind: 'text', cell: (row) => escapeXml(row.meaning) },
  ]);
}
