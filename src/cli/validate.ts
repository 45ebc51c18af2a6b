import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { formatMs, formatPercent, trimmed } from '../../sim/report/format.js';
import type { ErrorSummary } from '../../sim/validate/errors.js';
import { type Latencies, parseRun, type ReplayResult, replayRun } from '../../sim/validate/replay.js';
import { SILICON_COLUMNS, type SiliconRow, validateSilicon } from '../../sim/validate/silicon.js';
import { type GroupSummary, type SiliconSummary, summariseSilicon } from '../../sim/validate/summary.js';
import { BadFile, readLines } from '../../traces/lines.js';
import { MaestroError, messageOf, systemCodeOf } from '../model/error.js';
import { fractionOrAll, positiveInteger } from './numbers.js';
import { type Column, printJson, progressLine, renderTable } from './output.js';

interface SiliconFlags {
  readonly json?: boolean;
  readonly gpuMemoryUtilization?: number;
  readonly shortestShare?: number;
  readonly rounds?: number;
}

/** `maestro validate …`: the simulated engine against what was measured on real ones. */
export function registerValidate(program: Command): void {
  const validate = program
    .command('validate')
    .summary('compare the simulator with measured latencies')
    .addHelpText('after', '\nExample:\n  $ maestro validate silicon measured_latency.csv\n');
  validate
    .command('silicon')
    .summary('closed loops measured on GPUs')
    .description(
      'Runs every row of a CSV file as a closed loop in the simulated engine and prints the errors of time per output token (TPOT) and time to ' +
        `first token (TTFT). Its columns: ${SILICON_COLUMNS.join(', ')}.`,
    )
    .argument('<file>', 'CSV with one measured closed loop a row')
    .option(
      '--gpu-memory-utilization <share>',
      "share of GPU memory that the engines had (default: 0.92, vLLM's)",
      fractionOrAll,
    )
    .option(
      '--shortest-share <share>',
      'lengths are drawn between this share of isl and osl and all of it (default: 0.8)',
      fractionOrAll,
    )
    .option('--rounds <n>', 'requests that were sent for each one in flight (default: 10)', positiveInteger)
    .option('--json', 'print rows[] and summary as one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro validate silicon measured_latency.csv\n')
    .action(silicon);
  validate
    .command('replay')
    .summary('recorded runs under real arrivals')
    .description(
      'Sends the requests of a recorded run (meta.json and requests.jsonl, as LLMServingSim writes them) to the simulated engine at the recorded ' +
        'times and compares time to first token, time per output token and end-to-end time.',
    )
    .argument('<path...>', 'folders of runs, or their requests.jsonl')
    .option('--gpu <name>', 'GPU of the run, where meta.json and the name of the folder do not tell')
    .option('--json', 'print every request as one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro validate replay rtx4090-llama-3.1-8b\n')
    .action(replay);
}

async function silicon(path: string, { json, ...options }: SiliconFlags): Promise<void> {
  const progress = progressLine();
  const rows: SiliconRow[] = [];
  try {
    for await (const row of validateSilicon(readLines(path), options)) {
      rows.push(row);
      progress.update(rowsRead(rows.length));
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
  progress.done(rowsRead(rows.length));
  const summary = summariseSilicon(rows);
  if (json) printJson({ rows, summary });
  else process.stdout.write(`${siliconText(summary)}\n`);
}

function rowsRead(count: number): string {
  return `${count} ${count === 1 ? 'row' : 'rows'}`;
}

async function replay(paths: readonly string[], { gpu, json }: { gpu?: string; json?: boolean }): Promise<void> {
  const results: ReplayResult[] = [];
  for (const path of paths) {
    try {
      const folder = (await stat(path)).isDirectory() ? path : dirname(path);
      const file = folder === path ? join(folder, 'requests.jsonl') : path;
      const [meta, requests] = await Promise.all([readFile(join(folder, 'meta.json'), 'utf8'), readFile(file, 'utf8')]);
      results.push(replayRun(parseRun(basename(resolve(folder)), meta, requests, gpu)));
    } catch (cause) {
      throw unreadable(path, cause);
    }
  }
  if (json) printJson({ runs: results });
  else process.stdout.write(`${results.map(replayText).join('\n\n')}\n`);
}

function unreadable(path: string, cause: unknown): unknown {
  if (cause instanceof BadFile) return cause;
  const told = cause instanceof MaestroError || systemCodeOf(cause) !== undefined;
  return told ? new MaestroError('invalid_request', `${path}: ${messageOf(cause)}`, { cause }) : cause;
}

const columns = (first: string, ...titles: string[]): Column[] => [
  { title: first, align: 'left' },
  ...titles.map((title) => ({ title, align: 'right' }) as const),
];
const signed = (value: number) => `${value < 0 ? '−' : '+'}${trimmed(Math.abs(value) * 100, 1)} %`;
const errorCells = ({ count, median, p90, bias }: ErrorSummary) =>
  count === 0 ? ['–', '–', '–'] : [formatPercent(median), formatPercent(p90), signed(bias)];

function siliconText({ families, partitions, reasons, compared, skipped }: SiliconSummary): string {
  const table = (title: string, groups: readonly GroupSummary[]) =>
    renderTable(
      columns(title, 'rows', 'TPOT median', 'p90', 'bias', 'TTFT median', 'p90', 'bias'),
      groups.map(({ name, rows, tpot, ttft }) => [name, String(rows), ...errorCells(tpot), ...errorCells(ttft)]),
    );
  return [
    table('partition', partitions),
    '',
    table('all', families),
    ...(skipped > 0 ? ['', `not run: ${skipped} of ${compared + skipped} rows`] : []),
    ...reasons.map(({ reason, rows }) => `  ${String(rows).padStart(5)}  ${reason}`),
  ].join('\n');
}

function replayText({ name, notes, makespanMs, metrics, requests, skipped }: ReplayResult): string {
  const titles: Record<keyof Latencies, string> = { ttftMs: 'TTFT', tpotMs: 'TPOT', e2eMs: 'end to end' };
  const rows = (Object.keys(titles) as (keyof Latencies)[]).flatMap((metric) => {
    const { simulated, measured, perRequest } = metrics[metric];
    return (['mean', 'p50', 'p90', 'p99'] as const).map((point, index) => [
      index === 0 ? titles[metric] : '',
      point,
      formatMs(measured[point]),
      formatMs(simulated[point]),
      signed(simulated[point] / measured[point] - 1),
      ...(index === 0 ? errorCells(perRequest) : ['', '', '']),
    ]);
  });
  const { simulated, measured } = makespanMs;
  return [
    `${name}: ${requests.length} requests, makespan ${formatMs(measured)} measured, ${formatMs(simulated)} simulated (${signed(simulated / measured - 1)})`,
    ...notes.map((note) => `  note: ${note}`),
    ...skipped.slice(0, 5).map((each) => `  left out: line ${each.line}: ${each.skipped}`),
    renderTable(columns('', '', 'measured', 'simulated', 'error', 'a request: median', 'p90', 'bias'), rows),
  ].join('\n');
}
