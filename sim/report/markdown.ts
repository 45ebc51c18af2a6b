import { PHASE_LABELS, PHASES } from './breakdown.js';
import {
  counted,
  formatKvSeconds,
  formatMs,
  formatNumber,
  formatPercent,
  formatRate,
  formatRatio,
  MISSING,
} from './format.js';
import type { Report, RequestGroup, RequestStats, WorkflowGroup, WorkflowStats } from './schema.js';

/** `report.md`: the numbers of the report as GitHub-flavoured Markdown. */
export function renderMarkdown(report: Report): string {
  const { run } = report;
  const parts = [
    `# ${escapeMarkdown(report.title)}`,
    report.subtitle === null ? '' : escapeMarkdown(report.subtitle),
    bullets([
      ['command', code(run.command)],
      ['trace', escapeMarkdown(run.trace)],
      ['policy', run.policies.map(escapeMarkdown).join(', ') || MISSING],
      ['seed', run.seed === null ? MISSING : String(run.seed)],
      ['machine', escapeMarkdown(run.machine)],
      ...(run.startedAt === null ? [] : [['started', escapeMarkdown(run.startedAt)] satisfies [string, string]]),
      [
        'duration',
        `${formatMs(run.durationMs)}, of which ${formatMs(run.warmupMs)} warm-up (${counted(run.warmupWorkflows, 'workflow')} cut)`,
      ],
      [
        'time',
        run.startedAt === null
          ? 'simulated'
          : run.timeScale === 1
            ? 'real'
            : `emulated, ${formatNumber(run.timeScale)} times faster than real time`,
      ],
    ]),
    section('Workflows', workflowTable(report)),
    section('Tenants', workflowGroupTable('tenant', report.tenants, report)),
    section('Templates', workflowGroupTable('template', report.templates, report)),
    section('Requests', requestTable(report)),
    section('Where the time goes', phaseTable(report)),
    section('Fleet', fleetLines(report)),
    section('Outcomes of requests', outcomeTable(report)),
    section('Missed and slowest workflows', missedTable(report)),
    ...groupSections(report),
    section('Engines', engineTable(report)),
    section('Notes', run.notes.map((note) => `- ${escapeMarkdown(note)}`).join('\n')),
    section(
      'What the numbers mean',
      table(
        ['metric', 'unit', 'meaning'],
        report.definitions.map((definition) => [definition.metric, definition.unit, definition.meaning]),
      ),
    ),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

const WORKFLOW_HEAD = [
  ...['workflows', 'attainment', 'goodput', 'late', 'failed', 'unfinished'],
  ...['duration p50', 'p95', 'p99', 'slowdown p50', 'p95'],
];

function workflowCells(stats: WorkflowStats, { overall }: Report): string[] {
  return [
    formatNumber(stats.workflows),
    formatPercent(stats.attainment),
    formatRate(stats.goodputPerSecond, overall.goodputPerSecond),
    formatNumber(stats.completed - stats.met),
    formatNumber(stats.failed),
    formatNumber(stats.unfinished),
    formatMs(stats.durationMs.p50),
    formatMs(stats.durationMs.p95),
    formatMs(stats.durationMs.p99),
    formatRatio(stats.slowdown.p50),
    formatRatio(stats.slowdown.p95),
  ];
}

function workflowTable(report: Report): string {
  return table(
    ['class', 'deadline', ...WORKFLOW_HEAD],
    [
      ...report.classes.map((sloClass) => [
        sloClass.name,
        formatMs(sloClass.deadlineMs),
        ...workflowCells(sloClass, report),
      ]),
      ['all', MISSING, ...workflowCells(report.overall, report)],
    ],
  );
}

/** Workflows by tenant or template, where there is more than one. */
function workflowGroupTable(head: string, groups: readonly WorkflowGroup[], report: Report): string {
  if (groups.length < 2) return '';
  return table(
    [head, ...WORKFLOW_HEAD],
    groups.map((group) => [group.name, ...workflowCells(group, report)]),
  );
}

function requestCells(stats: RequestStats): string[] {
  return [
    formatNumber(stats.stages),
    formatPercent(stats.stages > 0 ? stats.stagesGood / stats.stages : null),
    formatMs(stats.ttftMs.p50),
    formatMs(stats.ttftMs.p95),
    formatMs(stats.tpotMs.p50),
    formatMs(stats.tpotMs.p95),
    formatMs(stats.itlMs.p99),
    formatMs(stats.e2elMs.p50),
    formatMs(stats.e2elMs.p95),
    formatMs(stats.queueMs.p50),
    formatMs(stats.queueMs.p95),
    stats.coldStartMs.count === 0 ? '0' : `${stats.coldStartMs.count} × ${formatMs(stats.coldStartMs.mean)}`,
  ];
}

const REQUEST_HEAD = [
  'requests',
  'within targets',
  'TTFT p50',
  'p95',
  'TPOT p50',
  'p95',
  'ITL p99',
  'E2EL p50',
  'p95',
  'queue p50',
  'p95',
  'cold starts',
];

function requestTable(report: Report): string {
  return table(
    ['class', ...REQUEST_HEAD],
    [
      ...report.classes.map((sloClass) => [sloClass.name, ...requestCells(sloClass.requests)]),
      ['all', ...requestCells(report.overall.requests)],
    ],
  );
}

function groupSections(report: Report): string[] {
  const groups: [string, RequestGroup[]][] = [
    ['Models', report.models],
    ['Roles', report.roles],
    ['Nodes', report.nodes],
  ];
  return groups.map(([title, rows]) =>
    section(
      title,
      rows.length === 0
        ? ''
        : table(
            [title.slice(0, -1).toLowerCase(), ...REQUEST_HEAD, 'prompt tokens', 'output tokens', 'cached'],
            rows.map((row) => [
              row.name,
              ...requestCells(row),
              formatNumber(row.promptTokens),
              formatNumber(row.outputTokens),
              formatPercent(row.cachedPromptShare),
            ]),
          ),
    ),
  );
}

function phaseTable(report: Report): string {
  const rows = [...report.classes, { ...report.overall, name: 'all' }].flatMap(({ name, meanPhasesMs }) =>
    meanPhasesMs === null ? [] : [[name, ...PHASES.map((phase) => formatMs(meanPhasesMs[phase]))]],
  );
  return rows.length === 0 ? '' : table(['mean of a workflow', ...PHASES.map((phase) => PHASE_LABELS[phase])], rows);
}

function fleetLines(report: Report): string {
  const { coldStarts, kv } = report;
  const lines: [string, string][] = [
    [
      'cold starts',
      `${coldStarts.stages} requests waited ${formatMs(coldStarts.requestSeconds * 1000)} in all` +
        (coldStarts.fleetCount === null
          ? ''
          : `; the fleet counted ${formatNumber(coldStarts.fleetCount)} over the whole run`),
    ],
  ];
  if (kv !== null) {
    lines.push([
      'KV memory',
      `reserved ${formatKvSeconds(kv.reservedByteSeconds, kv.unit)}, max-token reservation ${formatKvSeconds(kv.maxTokenByteSeconds, kv.unit)}, used ` +
        `${formatKvSeconds(kv.usedByteSeconds, kv.unit)}; ${formatPercent(kv.savedAgainstMaxToken)} less than max-token, ` +
        `${formatRatio(kv.reservedOverUsed)} of what was used`,
    ]);
    if (kv.nodeOverflowRate !== null) lines.push(['KV overflow', formatPercent(kv.nodeOverflowRate, 2)]);
  }
  if (report.preemptions !== null) lines.push(['preemptions in the engines', formatNumber(report.preemptions)]);
  return bullets(lines);
}

function outcomeTable(report: Report): string {
  const rows = Object.entries(report.outcomes).map(([name, count]) => [name, formatNumber(count)]);
  return rows.length === 0 ? '' : table(['outcome', 'requests'], rows);
}

function missedTable(report: Report): string {
  if (report.missed.length === 0) return '';
  return table(
    [
      'workflow',
      'class',
      'result',
      'duration',
      'deadline',
      'slowdown',
      ...PHASES.map((phase) => PHASE_LABELS[phase]),
      'why',
    ],
    report.missed.map((row) => [
      row.workflowId,
      row.sloClass,
      row.result,
      formatMs(row.durationMs),
      formatMs(row.deadlineMs),
      formatRatio(row.slowdown),
      ...PHASES.map((phase) => formatMs(row.phasesMs[phase])),
      row.why,
    ]),
  );
}

function engineTable(report: Report): string {
  if (report.fleet.engines.length === 0) return '';
  return table(
    ['node', 'engine', 'model', 'states', 'running mean', 'max', 'KV reserved mean', 'KV used mean', 'KV pool'],
    report.fleet.engines.map((engine) => [
      engine.nodeId,
      engine.engineId,
      engine.model,
      Object.entries(engine.stateShare)
        .map(([state, share]) => `${state} ${formatPercent(share, 0)}`)
        .join(', '),
      formatNumber(engine.meanRunning),
      formatNumber(engine.maxRunning),
      `${formatNumber(engine.meanKvReservedTokens)} tokens`,
      `${formatNumber(engine.meanKvUsedTokens)} tokens`,
      `${formatNumber(engine.kvPoolTokens)} tokens`,
    ]),
  );
}

function section(title: string, body: string): string {
  return body === '' ? '' : `## ${title}\n\n${body}`;
}

function bullets(lines: readonly [string, string][]): string {
  return lines.map(([name, value]) => `- ${name}: ${value}`).join('\n');
}

/** A table; the first column is text, cells that start with a digit are aligned to the right by their column. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumeric = (column: number): boolean =>
    rows.every((row) => /^(?:[-−<>≤]? ?\d|–)/.test(row[column] ?? MISSING));
  const rule = head.map((_, column) => (column > 0 && isNumeric(column) ? '---:' : '---'));
  const lines = [head, rule, ...rows.map((row) => row.map(escapeMarkdown))];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Text that came from outside, on one line and without any mark that Markdown or HTML would act on. */
export function escapeMarkdown(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/[\\`*_[\]|]/g, '\\$&');
}

export function code(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  const longestRun = Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longestRun + 1);
  return longestRun > 0 ? `${fence} ${line} ${fence}` : `${fence}${line}${fence}`;
}
