import type { TargetName } from './options.js';

/** One target at one load. Times in milliseconds, shares 0 to 1. */
export interface CellResult {
  readonly target: TargetName;
  readonly load: number;
  readonly workflows: number;
  /** Workflows within their deadline; what failed or did not end is a miss. */
  readonly attainment: number;
  /** Arrival to end, of completed workflows. */
  readonly durationMs: { readonly p50: number | null; readonly p90: number | null; readonly p99: number | null };
  readonly ttftMs: { readonly p50: number | null; readonly p99: number | null };
  /** Prompt tokens found in the engines' prefix caches, of those looked up there; the engines' own counters. */
  readonly cachedShare: number;
  readonly preemptions: number;
  readonly stages: number;
  readonly failedStages: number;
  readonly unfinishedWorkflows: number;
  readonly cpu: {
    /** Of the target's own process tree. */
    readonly targetMsPerStage: number;
    /** Of all cores: engines, target and replay. */
    readonly benchShare: number;
    /** Of all cores: everything that ran on the machine. */
    readonly machineShare: number;
    /** How late an idle process wakes, 95th percentile: where it nears the time of a step, the machine decides, not the gateway. */
    readonly wakeLateMs: number;
  };
  readonly wallSeconds: number;
}

export interface LiveReport {
  readonly command: string;
  readonly startedAt: string;
  readonly machine: string;
  /** How each measured target was set up. */
  readonly targets: readonly { readonly name: TargetName; readonly about: string }[];
  /** What could not be had, and why. */
  readonly skipped: readonly { readonly name: TargetName; readonly reason: string }[];
  readonly cells: readonly CellResult[];
}

const COLUMNS = [
  ...['target', 'in time %', 'behind best, points', 'duration s p50', 'p90', 'p99', 'p50 / best', 'TTFT ms p50', 'p99'],
  ...[
    'from cache %',
    'preempted',
    'calls failed',
    'workflows unfinished',
    'target CPU ms a call',
    'CPU % bench',
    'CPU % machine',
    'wake late ms p95',
  ],
];

/** One table for each load; durations also as a ratio to the best. */
export function renderMarkdown(report: LiveReport): string {
  const lines = [
    '# The same emulated fleet behind several gateways',
    '',
    `\`${report.command}\`, ${report.startedAt}, ${report.machine}`,
    '',
  ];
  for (const { name, about } of report.targets) lines.push(`- **${name}**: ${about}`);
  for (const { name, reason } of report.skipped) lines.push(`- **${name}** was left out: ${reason}`);
  for (const load of new Set(report.cells.map((cell) => cell.load))) {
    const cells = report.cells.filter((cell) => cell.load === load);
    lines.push(
      '',
      `## Load ${load}: ${cells[0]!.workflows} workflows, ${Math.max(...cells.map(({ stages }) => stages))} calls`,
      '',
    );
    lines.push(row(COLUMNS), row(COLUMNS.map((_, index) => (index === 0 ? '---' : '---:'))));
    for (const cell of cells) lines.push(row(values(cell, cells)));
  }
  return `${lines.join('\n')}\n`;
}

function values(cell: CellResult, all: readonly CellResult[]): string[] {
  const best = Math.max(...all.map(({ attainment }) => attainment));
  const fastest = Math.min(...all.map(({ durationMs }) => durationMs.p50 ?? Number.POSITIVE_INFINITY));
  const { durationMs, ttftMs, cpu } = cell;
  const seconds = (ms: number | null) => (ms === null ? '' : (ms / 1000).toFixed(1));
  const percent = (share: number) => (100 * share).toFixed(1);
  return [
    cell.target,
    percent(cell.attainment),
    percent(best - cell.attainment),
    ...[durationMs.p50, durationMs.p90, durationMs.p99].map(seconds),
    durationMs.p50 === null ? '' : (durationMs.p50 / fastest).toFixed(2),
    ...[ttftMs.p50, ttftMs.p99].map((ms) => (ms === null ? '' : ms.toFixed(0))),
    percent(cell.cachedShare),
    ...[cell.preemptions, cell.failedStages, cell.unfinishedWorkflows].map(String),
    cpu.targetMsPerStage.toFixed(1),
    percent(cpu.benchShare),
    percent(cpu.machineShare),
    cpu.wakeLateMs.toFixed(1),
  ];
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
