/**
 * The SLO benchmark: every policy on every workload at several loads, under two rules of deadlines. `npm run bench:slo` writes `report.{html,md,json}`; `-- --quick` is a
 * short form. What runs is in `slo.yaml`; docs/benchmark.md says how to read it.
 */
import { availableParallelism, cpus } from 'node:os';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { findCapacity } from '../../sim/sweep/capacity.js';
import { executeSweep } from '../../sim/sweep/execute.js';
import { findings } from '../../sim/sweep/findings.js';
import { cellsToTell, tellLosses } from '../../sim/sweep/losses.js';
import { planSweep, REPORT_PARTS } from '../../sim/sweep/plan.js';
import { buildSweepReport } from '../../sim/sweep/report.js';
import type { SweepWorkload } from '../../sim/sweep/types.js';
import { writeSweepReport } from '../../sim/sweep/write.js';
import { progressLine } from '../../src/cli/output.js';
import { MINUTE_MS } from '../../src/model/units.js';
import { cellsOf, defaultParts, POLICY_NAMES } from './cells.js';
import { loadWorkload, trafficOf } from './load.js';
import { MissingSource, SHIPPED, traceFolder } from './sources.js';
import { readSpec, runsIn, type Size, type SloSpec, type WorkloadSpec } from './spec.js';

/** Long enough for the turns that models take on one GPU, and on several seeds, because there one run says little. */
const CAPACITY_SEARCH = { seeds: 3, minRunMs: 40 * MINUTE_MS };
/** With traces of others, whose work differs: what the short form has time for. */
const QUICK_CAPACITY_SEARCH = { precision: 1.05 };

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: 'slo-report' },
    traces: { type: 'string' },
    workloads: { type: 'string' },
    policies: { type: 'string' },
    parts: { type: 'string' },
    seeds: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    'find-capacity': { type: 'boolean', default: false },
  },
});

const given = readSpec();
const seeds = values.seeds === undefined ? undefined : Number(values.seeds);
if (seeds !== undefined && !(Number.isSafeInteger(seeds) && seeds > 0)) {
  console.error(`--seeds: ${values.seeds} is not a whole number above 0`);
  process.exit(2);
}
const spec: SloSpec = seeds === undefined ? given : { ...given, seeds: { quick: seeds, full: seeds } };
const size: Size = values.quick ? 'quick' : 'full';
const wanted =
  values.workloads?.split(',') ?? spec.workloads.filter((each) => runsIn(each, size)).map(({ name }) => name);
const unknown = wanted.filter((name) => !spec.workloads.some((workload) => workload.name === name));
if (unknown.length > 0) {
  console.error(
    `--workloads: no ${unknown.join(', ')}; there are ${spec.workloads.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}
const policies = values.policies?.split(',');
const unknownPolicies = (policies ?? []).filter((name) => !POLICY_NAMES.includes(name));
if (unknownPolicies.length > 0) {
  console.error(`--policies: no ${unknownPolicies.join(', ')}; there are ${POLICY_NAMES.join(', ')}`);
  process.exit(2);
}
const chosenParts = values.parts?.split(',');
const parts = chosenParts ? REPORT_PARTS.filter((part) => chosenParts.includes(part)) : defaultParts(values.quick);
if (chosenParts && parts.length !== chosenParts.length) {
  console.error(`--parts: ${values.parts} is not a choice of ${REPORT_PARTS.join(', ')}`);
  process.exit(2);
}
const progress = progressLine();
const folder = values.traces === undefined ? SHIPPED : await traceFolder(values.traces);
const skipped = [...folder.skipped];
const capacities: string[] = [];
const workloads: (SweepWorkload & { readonly about: string })[] = [];
const chosen = spec.workloads.filter(({ name }) => wanted.includes(name));
for (const workload of chosen) {
  try {
    if (values['find-capacity']) await tellCapacity(workload);
    else workloads.push(await loadWorkload(workload, spec, size, folder.open, capacityOf(workload)));
  } catch (error) {
    if (!(error instanceof MissingSource)) throw error;
    skipped.push(`workload ${workload.name}: ${error.message}`);
  }
}
for (const line of skipped) console.error(`skipped: ${line}`);
if (!values['find-capacity']) {
  if (workloads.length === 0) {
    console.error('nothing to run');
    process.exit(1);
  }
  await benchmark();
}

/** Of traffic that the spec does not know, the capacity has to be found first. */
function capacityOf({ name }: WorkloadSpec): ((traffic: SweepWorkload & { about: string }) => number) | undefined {
  if (values.traces === undefined) return undefined;
  return (traffic) => {
    progress.update(`capacity for ${name}`);
    const found = findCapacity(traffic, values.quick ? QUICK_CAPACITY_SEARCH : CAPACITY_SEARCH);
    capacities.push(`${name}, ${traffic.about}: ${found} (of the traces that ship: ${traffic.capacitySpeed})`);
    return found;
  };
}

async function tellCapacity(workload: WorkloadSpec): Promise<void> {
  const parts = new Map(
    (await trafficOf(workload, spec, 'full', folder.open)).map((traffic) => [traffic.about, traffic]),
  );
  for (const [about, traffic] of parts) {
    console.log(`${workload.name}, ${about}: capacitySpeed: ${findCapacity(traffic, CAPACITY_SEARCH)}`);
  }
}

async function benchmark(): Promise<void> {
  const startedMs = performance.now();
  const options = [
    ...(values.quick ? ['--quick'] : []),
    ...(values.workloads === undefined ? [] : [`--workloads ${values.workloads}`]),
    ...(values.policies === undefined ? [] : [`--policies ${values.policies}`]),
    ...(values.parts === undefined ? [] : [`--parts ${values.parts}`]),
    ...(seeds === undefined ? [] : [`--seeds ${seeds}`]),
    ...(values.traces === undefined ? [] : ['--traces (others)']),
  ];
  const command = ['npm run bench:slo', ...(options.length > 0 ? ['--', ...options] : [])].join(' ');
  const plan = planSweep(
    {
      title: `SLO benchmark${values.quick ? ', short form' : ''}`,
      command,
      notes: [
        'Simulated on the engine model of docs/simulator.md; only measured GPUs and real vLLM are evidence of truth.',
        'Structure, token counts, prefixes and arrival gaps are recorded; models, classes, deadlines and tenants are set or drawn by the files in bench/slo; answers that no source records are sampled.',
        'Unfinished workflows are misses. Intervals: 95 %, Student’s t over the seeds; differences are taken seed by seed.',
        'over-commitment: share of engine-seconds in which the KV memory in use exceeded what was reserved.',
        ...(capacities.length > 0
          ? [`Load 1, found for these traces, as speed of the arrivals: ${capacities.join('; ')}.`]
          : []),
        ...skipped.map((line) => `Skipped: ${line}.`),
      ],
    },
    workloads,
    cellsOf(
      spec,
      chosen.filter(({ name }) => workloads.some((workload) => workload.name === name)),
      size,
      policies,
      parts,
    ),
  );
  const rows = await executeSweep(plan, workloads, {
    directory: values.out,
    jobs: Number(values.jobs),
    onProgress: (done, total) => progress.update(`${done} of ${total} runs`),
  });
  const ended = plan.cells.map((_, index) => rows.get(index)!);
  const runs = ended.filter((_, index) => plan.cells[index]!.part === 'runs');
  const losses = cellsToTell(runs).map((row) => {
    progress.update(`who loses where: ${row.workload}`);
    return tellLosses(workloads.find(({ name }) => name === row.workload)!, row);
  });
  progress.done();
  const report = buildSweepReport(plan, ended, losses);
  const wallSeconds = Math.round((performance.now() - startedMs) / 1000);
  const path = await writeSweepReport(values.out, report, {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}`,
    wallSeconds,
  });
  console.log(findings(report).join('\n'));
  console.log(`${plan.cells.length} runs in ${wallSeconds} s; report: ${relative(process.cwd(), path)} (.md, .json)`);
}
