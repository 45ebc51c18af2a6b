/**
 * How fast the simulator is: `npm run bench:sim [-- --json --million]`. Plays the Azure conversation arrivals that ship, as recorded and compressed until the fleet is full, and synthetic fleets of
 * growing size. CPU seconds of the process, garbage collector and compiler included; each case runs in a process of its own, so that the peak of memory is its own. It is then played again in
 * that process (`warmRequestsPerCpuSecond`), which is what a sweep does for most of its time: its processes play one cell after the other, and the code is compiled in the first.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { runSimulation } from '../sim/simulation.js';
import { repeatWorkflows } from '../sim/sweep/repeat.js';
import { GARBAGE_COLLECTION } from '../sim/sweep/sweep.js';
import type { Placement, SimScenario } from '../sim/types.js';
import { arrivalsOf } from '../sim/workload.js';
import { parseConfig } from '../src/config/load.js';
import { toNodeSpecs } from '../src/config/node-specs.js';
import { stepShapes } from '../src/config/service-times.js';
import { serviceTimes } from '../src/engine/service-times.js';
import { findOrderingPolicy } from '../src/global/order/registry.js';
import { readTrace } from '../traces/reader.js';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';
import { scriptFlags } from './flags.js';

interface Case {
  readonly name: string;
  readonly engines: number;
  readonly policy: string;
  readonly placement: Placement;
  /** Arrivals so many times as fast; `full`: as fast as the engines can just serve. */
  readonly speed: number;
  /** Synthetic: so many one-stage workflows over so many models instead of the Azure trace. */
  readonly synthetic?: { readonly stages: number; readonly models: number; readonly together?: number };
}

/** Requests a second that one 8B engine on an H100 serves of these lengths; measured with this very command. */
const REQUESTS_PER_ENGINE = 9;
/** The Azure conversation trace: 19,366 requests in an hour. */
const AZURE_PER_SECOND = 5.4;

/** The trace is played so often on end: one round ends before the optimising compiler has seen the code. */
const ROUNDS = 8;

const full = (engines: number) => (REQUESTS_PER_ENGINE * engines) / AZURE_PER_SECOND;
const CASES: readonly Case[] = [
  { name: 'azure as recorded', engines: 2, policy: 'fcfs', placement: 'round-robin', speed: 1 },
  { name: 'azure as recorded', engines: 2, policy: 'maestro', placement: 'maestro', speed: 1 },
  { name: 'azure, fleet full', engines: 2, policy: 'fcfs', placement: 'round-robin', speed: full(2) },
  { name: 'azure, fleet full', engines: 2, policy: 'maestro', placement: 'maestro', speed: full(2) },
  { name: 'azure, fleet full', engines: 40, policy: 'fcfs', placement: 'round-robin', speed: full(40) },
  { name: 'azure, fleet full', engines: 40, policy: 'maestro', placement: 'maestro', speed: full(40) },
  { name: 'azure, 1.5 of full', engines: 40, policy: 'maestro', placement: 'maestro', speed: 1.5 * full(40) },
  ...[10, 100, 1000].map(
    (engines): Case => ({
      name: 'synthetic',
      engines,
      policy: 'maestro',
      placement: 'maestro',
      speed: 1,
      synthetic: { stages: Math.min(200_000, 2_000 * engines), models: 1 },
    }),
  ),
  ...[10, 100].map(
    (models): Case => ({
      name: 'synthetic',
      engines: 100,
      policy: 'maestro',
      placement: 'maestro',
      speed: 1,
      synthetic: { stages: 100_000, models },
    }),
  ),
  // So many come at one moment and wait in one queue, which is empty again before the next.
  ...[1_000, 10_000, 50_000].map(
    (together): Case => ({
      name: `queue of ${together}`,
      engines: 40,
      policy: 'maestro',
      placement: 'maestro',
      speed: 1,
      synthetic: { stages: 100_000, models: 1, together },
    }),
  ),
];

const MILLION: Case = {
  name: 'one million stages',
  engines: 1000,
  policy: 'maestro',
  placement: 'maestro',
  speed: 1,
  synthetic: { stages: 1_000_000, models: 10 },
};

// A case is played in a process of its own, which is this script again.
const [mode, payload] = process.argv.slice(2);
if (mode === 'case') console.log(JSON.stringify(await measure(JSON.parse(payload!) as Case)));
else {
  const { json, million } = scriptFlags('npm run bench:sim -- [flags]\nHow fast the simulator is.', {
    json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
    million: { type: 'boolean', default: false, help: 'one million stages on 1,000 engines, and no other case' },
  });
  main(json, million ? [MILLION] : CASES);
}

function main(json: boolean, cases: readonly Case[]): void {
  const rows = cases.map((each) => {
    const run = spawnSync(
      process.execPath,
      [...GARBAGE_COLLECTION, '--import', 'tsx', fileURLToPath(import.meta.url), 'case', JSON.stringify(each)],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const row = JSON.parse(run.stdout) as Awaited<ReturnType<typeof measure>>;
    if (!json) print(row);
    return row;
  });
  if (json)
    console.log(
      JSON.stringify(
        { machine: `${cpus().length} × ${cpus()[0]?.model}`, node: process.version, cases: rows },
        null,
        2,
      ),
    );
}

function print(row: Awaited<ReturnType<typeof measure>>): void {
  console.log(
    `${row.name.padEnd(20)} ${String(row.engines).padStart(5)} engines ${String(row.models).padStart(4)} models  ${row.policy.padEnd(8)} ${row.placement.padEnd(12)} ` +
      `${String(row.requestsPerCpuSecond).padStart(8)} requests/CPU s, ${String(row.warmRequestsPerCpuSecond).padStart(6)} when played again  ${String(row.eventsPerSecond).padStart(8)} events/s  ${String(row.peakMb).padStart(5)} MB  ` +
      `(${row.requests} requests, ${row.simulatedSeconds} s simulated in ${row.cpuSeconds} s)`,
  );
}

async function measure(each: Case) {
  const models = each.synthetic?.models ?? 1;
  const config = fleet(each.engines, models);
  const workflows = each.synthetic ? synthetic(each) : await azure();
  const scenario = {
    arrivals: arrivalsOf(workflows, {
      load: each.speed,
      seed: 0,
      deadlineRule: 'class',
      classes: config.classes,
      defaultClass: 'interactive',
      isolatedMs: () => undefined,
    }),
    nodes: toNodeSpecs(config),
    classes: config.classes,
    policy: findOrderingPolicy(each.policy)!,
    placement: each.placement,
    reservation: 'predicted',
    prediction: { kind: 'online' },
    serviceTimeMs: serviceTimes(stepShapes(config)),
    lookAhead: 4,
    minResidencyMs: 30_000,
    kvOverflowTarget: 0.05,
    rttMs: {},
    seed: 0,
    faults: [],
    horizonMs: Number.POSITIVE_INFINITY,
    detail: 'summary',
  } as const;
  const { counters, cpuSeconds } = play(scenario);
  const peakMb = Math.round(process.resourceUsage().maxRSS / 1024);
  const warm = play(scenario);
  return {
    name: each.name,
    engines: each.engines,
    models,
    policy: each.policy,
    placement: each.placement,
    requests: counters.stages,
    requestsPerCpuSecond: Math.round(counters.stages / cpuSeconds),
    warmRequestsPerCpuSecond: Math.round(counters.stages / warm.cpuSeconds),
    eventsPerSecond: Math.round(counters.events / cpuSeconds),
    peakMb,
    cpuSeconds: Number(cpuSeconds.toFixed(2)),
    simulatedSeconds: Math.round(counters.simulatedMs / 1000),
  };
}

function play(scenario: SimScenario) {
  const before = process.cpuUsage();
  const { counters } = runSimulation(scenario);
  const { user, system } = process.cpuUsage(before);
  return { counters, cpuSeconds: (user + system) / 1e6 };
}

/** One H100 with an 8B model for each engine; every model has its own name. */
function fleet(engines: number, models: number) {
  const nodes = Array.from({ length: Math.ceil(engines / 8) }, (_, node) => {
    const count = Math.min(8, engines - node * 8);
    const list = Array.from({ length: count }, (_, gpu) => {
      const index = node * 8 + gpu;
      return `        - {id: e${index}, model: llama-3.1-8b, servedName: m${index % models}, gpus: [${gpu}], sleep: false}`;
    });
    return [`    - id: n${node}`, `      gpus: {type: h100-sxm, count: ${count}}`, '      engines:', ...list].join(
      '\n',
    );
  });
  return parseConfig(`fleet:\n  nodes:\n${nodes.join('\n')}\n`, 'bench');
}

async function azure(): Promise<TraceWorkflow[]> {
  const file = new URL('../traces/data/azure-llm-2023.jsonl.gz', import.meta.url);
  const { rows } = await readTrace(fileURLToPath(file));
  const conversation = rows
    .filter((row) => row.template === 'azure-conversation')
    .map((row) => Object.assign({}, row, { model: 'm0' }));
  return repeatWorkflows(groupWorkflows(conversation), ROUNDS);
}

/** One-stage workflows of 512 prompt and about 128 output tokens, fewer than the fleet can serve, evenly spaced or so many `together`. */
function synthetic({ engines, synthetic }: Case): TraceWorkflow[] {
  const { stages, models, together = 1 } = synthetic!;
  const gapMs = 1000 / (12 * engines);
  const arrivalMs = (index: number) => (index - (index % together)) * gapMs;
  return Array.from({ length: stages }, (_, index) => ({
    workflowId: `w${index}`,
    arrivalMs: arrivalMs(index),
    rows: [
      {
        request_id: `w${index}`,
        timestamp: arrivalMs(index),
        input_length: 512,
        output_length: 64 + ((index * 7919) % 128),
        model: `m${index % models}`,
      },
    ],
  }));
}
