/**
 * One emulated fleet behind several gateways, one agentic trace: `npm run bench:live [-- --targets a,b --loads 0.7,1,1.3 --out DIR --json]`.
 *
 * In real time, because gateways have timers of their own. Every cell has a fresh fleet and a fresh gateway and gets the same requests.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { orEnd } from '../flags.js';
import { runCell } from './cell.js';
import { parseOptions } from './options.js';
import { type CellResult, type LiveReport, renderMarkdown } from './report.js';
import { TARGETS } from './targets.js';
import { readWorkload } from './workload.js';

const options = orEnd(() => parseOptions(process.argv.slice(2)));
const startedAt = new Date().toISOString();
const dir = options.out === undefined ? mkdtempSync(join(tmpdir(), 'maestro-live-')) : resolve(options.out);
mkdirSync(dir, { recursive: true });
const mainPath = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const workload = await readWorkload(options.limitWorkflows, options.seed);

const skipped: LiveReport['skipped'][number][] = [];
const ready = TARGETS.filter(({ name }) => options.targets.includes(name)).filter((target) => {
  const reason = target.prepare(options.cache);
  if (reason !== undefined) {
    skipped.push({ name: target.name, reason });
    process.stderr.write(`${target.name} is left out: ${reason}\n`);
  }
  return reason === undefined;
});

const cells: CellResult[] = [];
for (const load of options.loads) {
  for (const target of ready) {
    process.stderr.write(`load ${load}, ${target.name} … `);
    const place = { mainPath, cacheDir: options.cache, dir: join(dir, `${target.name}-${load}`) };
    const cell = await runCell(target, load, workload, place);
    cells.push(cell);
    process.stderr.write(`${(100 * cell.attainment).toFixed(1)} % in time, ${cell.wallSeconds.toFixed(0)} s\n`);
  }
}

const report: LiveReport = {
  command: ['npm run bench:live --', ...process.argv.slice(2)].join(' '),
  startedAt,
  machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}`,
  targets: ready.map(({ name, about }) => ({ name, about })),
  skipped,
  cells,
};
const markdown = renderMarkdown(report);
const json = `${JSON.stringify(report, undefined, 2)}\n`;
if (options.out === undefined) rmSync(dir, { recursive: true });
else {
  writeFileSync(join(dir, 'report.md'), markdown);
  writeFileSync(join(dir, 'report.json'), json);
}
process.stdout.write(options.json ? json : markdown);
