/**
 * The SLO benchmark: every policy on every workload at several loads, under two rules of deadlines. `npm run bench:slo` writes `report.{html,md,json}`; `-- --quick` is a
 * short form. What runs is in `slo.yaml`; docs/benchmark.md says how to read it.
 */
import { cpus } from 'node:os';
import { relative } from 'node:path';
import { findCapacity } from '../../sim/sweep/capacity.js';
import { executeSweep } from '../../sim/sweep/execute.js';
import { findings } from '../../sim/sweep/findings.js';
import { cellsToTell, type Losses } from '../../sim/sweep/losses.js';
import { planSweep } from '../../sim/sweep/plan.js';
import { buildSweepReport } from '../../sim/sweep/report.js';
import type { SweepWorkload } from '../../sim/sweep/types.js';
import { writeSweepReport } from '../../sim/sweep/write.js';
import { progressLine } from '../../src/cli/output.js';
import { MaestroError } from '../../src/model/error.js';
import { MINUTE_MS } from '../../src/model/units.js';
import { orEnd } from '../flags.js';
import { cellsOf } from './cells.js';
import { loadWorkload, trafficOf, type Workload } from './load.js';
import { parseOptions } from './options.js';
import { SHIPPED, traceFolder } from './sources.js';
import { readSpec, type SloSpec, type WorkloadSpec } from './spec.js';

/** Long enough for the turns that models take on one GPU, and on several seeds, because there one run says little. */
const CAPACITY_SEARCH = { seeds: 3, minRunMs: 40 * MINUTE_MS };
/** With traces of others, whose work differs: what the short form has time for. */
const QUICK_CAPACITY_SEARCH = { precision: 1.05 };

const given = readSpec();
const options = orEnd(() => parseOptions(process.argv.slice(2), given));
const { size, seeds, loads, policies, parts } = options;
const spec: SloSpec = {
  ...given,
  ...(seeds === undefined ? {} : { seeds: { quick: seeds, full: seeds } }),
  ...(loads === undefined ? {} : { loads: [...loads], variantLoads: [...loads] }),
};
const progress = progressLine();
const { traces } = options;
const folder = traces === undefined ? SHIPPED : await traceFolder(traces).catch(refuse);
const leftOut: string[] = [];
const capacities: string[] = [];
const workloads: Workload[] = [];
for (const workload of options.workloads) {
  try {
    if (options.findCapacity) await tellCapacity(workload);
    else workloads.push(await loadWorkload(workload, spec, size, folder, capacityOf(workload)));
  } catch (error) {
    // The shipped traces fill every spec.
    if (!(folder.foreign && error instanceof MaestroError)) throw error;
    leftOut.push(`workload ${workload.name}: ${error.message}`);
  }
}
const skipped = [...folder.skipped, ...leftOut];
const shrunk = workloads.flatMap(({ name, shrunk }) =>
  shrunk ? [`${name} has ${Math.round(100 * shrunk.share)} % of its workflows (${shrunk.why})`] : [],
);
progress.done();
for (const line of skipped) console.error(`skipped: ${line}`);
for (const line of shrunk) console.error(line);
if (!options.findCapacity) {
  if (workloads.length === 0) {
    console.error('nothing to run');
    process.exit(1);
  }
  await benchmark();
}

/** What was asked for cannot be done: says why. */
function refuse(error: unknown): never {
  console.error((error as Error).message);
  process.exit(2);
}

/** Of traffic that the spec does not know, the capacity has to be found first. */
function capacityOf({ name }: WorkloadSpec): ((traffic: SweepWorkload & { about: string }) => number) | undefined {
  if (!folder.foreign) return undefined;
  return (traffic) => {
    progress.update(`capacity for ${name}`);
    const found = findCapacity(traffic, size === 'quick' ? QUICK_CAPACITY_SEARCH : CAPACITY_SEARCH);
    capacities.push(`${name}, ${traffic.about}: ${found} (of the traces that ship: ${traffic.capacitySpeed})`);
    return found;
  };
}

async function tellCapacity(workload: WorkloadSpec): Promise<void> {
  const parts = new Map((await trafficOf(workload, spec, 'full', folder)).map((traffic) => [traffic.about, traffic]));
  for (const [about, traffic] of parts) {
    console.log(`${workload.name}, ${about}: capacitySpeed: ${findCapacity(traffic, CAPACITY_SEARCH)}`);
  }
}

async function benchmark(): Promise<void> {
  const startedMs = performance.now();
  const plan = planSweep(
    {
      title: `SLO benchmark${size === 'quick' ? ', short form' : ''}`,
      command: options.command,
      notes: [
        'Simulated on the engine model of docs/simulator.md; only measured GPUs and real vLLM are evidence of truth.',
        'Structure, token counts, prefixes and arrival gaps are recorded; models, classes, deadlines and tenants are set or drawn by the files in bench/slo; answers that no source records are sampled.',
        'Unfinished workflows are misses. Intervals: 95 %, Student’s t over the seeds; differences are taken seed by seed.',
        ...(capacities.length > 0
          ? [`Load 1, found for these traces, as speed of the arrivals: ${capacities.join('; ')}.`]
          : []),
        ...(shrunk.length > 0
          ? [
              `Smaller than in the spec, as these traces hold less; the mix of the parts that are there is kept: ${shrunk.join('; ')}.`,
            ]
          : []),
        ...skipped.map((line) => `Skipped: ${line}.`),
        ...workloads.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}`)),
      ],
    },
    workloads,
    cellsOf(
      spec,
      options.workloads.filter(({ name }) => workloads.some((workload) => workload.name === name)),
      size,
      policies,
      parts,
    ),
  );
  const losses: Losses[] = [];
  const rows = await executeSweep(plan, workloads, {
    directory: options.out,
    replace: true,
    jobs: options.jobs,
    onProgress: (done, total) => progress.update(`${done} of ${total} runs`),
    toTell(all) {
      progress.update('who loses where');
      return cellsToTell(plan.cells.flatMap(({ part }, index) => (part === 'runs' ? all.get(index)! : [])));
    },
    onTold(index, told) {
      losses[index] = told;
    },
  });
  const ended = plan.cells.map((_, index) => rows.get(index)!);
  progress.done();
  const report = buildSweepReport(plan, ended, losses);
  const wallSeconds = Math.round((performance.now() - startedMs) / 1000);
  const path = await writeSweepReport(options.out, report, {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}`,
    wallSeconds,
  });
  console.log(findings(report).join('\n'));
  console.log(`${plan.cells.length} runs in ${wallSeconds} s; report: ${relative(process.cwd(), path)} (.md, .json)`);
}
