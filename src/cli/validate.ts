import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatPercent, trimmed } from '../../sim/report/format.js';
import { type SiliconRow, summariseErrors, validateSilicon } from '../../sim/validate/silicon.js';
import { MaestroError } from '../model/error.js';
import { printJson, progressLine, renderTable } from './output.js';

type Compared = Extract<SiliconRow, { readonly partition: unknown }>;

/** `maestro validate …`: the simulator against what was measured. */
export function registerValidate(program: Command): void {
  const validate = program.command('validate').summary('compare the simulator with measured latencies');
  validate.addHelpText('after', '\nExample:\n  $ maestro validate silicon measured_latency.csv\n');
  validate
    .command('silicon')
    .summary('closed loops measured on GPUs')
    .description(
      'Runs every row of a CSV file (isl, osl, concurrency, model_path, system, precision, tp_size, silicon_ttft_ms, silicon_tpot_ms, …) ' +
        'as a closed loop in the simulated engine and prints the errors of time to first token (TTFT) and time per output token (TPOT).',
    )
    .argument('<file>', 'CSV with one measured closed loop a row')
    .option('--json', 'print rows[] as one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro validate silicon measured_latency.csv\n')
    .action(silicon);
}

async function silicon(path: string, { json }: { readonly json?: boolean }): Promise<void> {
  const csv = await readFile(path, 'utf8').catch((cause) => {
    throw new MaestroError('invalid_request', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const progress = progressLine();
  const rows: SiliconRow[] = [];
  for (const row of validateSilicon(csv)) {
    rows.push(row);
    if (rows.length % 20 === 0) progress.update(`${rows.length} rows`);
  }
  progress.done(`${rows.length} rows`);
  if (json) printJson({ rows });
  else process.stdout.write(`${report(rows)}\n`);
}

function report(rows: readonly SiliconRow[]): string {
  const compared = rows.filter((row): row is Compared => 'partition' in row);
  const groups = groupBy(compared, ({ partition: { backend, gpu, model, precision, tp } }) =>
    [backend, gpu, model, precision, `TP${tp}`].join(' '),
  );
  const overall = groupBy(compared, ({ partition: { backend, kind } }) => `${backend}, all ${kind} models`);
  const skipped = groupBy(
    rows.filter((row) => 'skipped' in row),
    (row) => ('skipped' in row ? row.skipped : ''),
  );
  const lines = [
    ...[...groups].sort(([a], [b]) => (a < b ? -1 : 1)),
    ...[...overall].sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  const table = renderTable(
    ['partition', 'rows', 'TPOT median', 'p90', 'bias', 'TTFT median', 'p90', 'bias'].map(
      (title, index) => ({ title, align: index === 0 ? 'left' : 'right' }) as const,
    ),
    lines.map(([name, members]) => {
      const tpot = summariseErrors(members.map(({ tpotMs, measuredTpotMs }) => [tpotMs, measuredTpotMs]));
      const ttft = summariseErrors(members.map(({ ttftMs, measuredTtftMs }) => [ttftMs, measuredTtftMs]));
      return [
        name,
        String(members.length),
        ...[tpot, ttft].flatMap(({ median, p90, bias }) => [formatPercent(median), formatPercent(p90), signed(bias)]),
      ];
    }),
  );
  const reasons = [...skipped].map(([reason, members]) => `  ${String(members.length).padStart(5)}  ${reason}`);
  return [
    table,
    ...(reasons.length > 0
      ? ['', `not run, ${rows.length - compared.length} of ${rows.length} rows:`, ...reasons]
      : []),
  ].join('\n');
}

function signed(share: number): string {
  return `${share < 0 ? '−' : '+'}${trimmed(Math.abs(share) * 100, 1)} %`;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
