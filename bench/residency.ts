/**
 * How long calls wait for weights under each policy of what stays in GPU memory: `npm run bench:residency -- [--workload one-gpu] [--seeds 3] [--loads 0.9,1.2,1.5]
 * [--quick]`. Beside the live policies stand a plain stack, `oracle-residency`, which sees what will be asked for next, and a lower bound for the calls of the run of `value`. With `--small` the same
 * on random small cases, of which the least waiting that is possible can be computed.
 */
import { leastColdStartMs } from '../sim/bound/residency.js';
import type { NodeSample, StageRecord } from '../sim/report/types.js';
import { runSimulation } from '../sim/simulation.js';
import { rowOf, scenarioOf } from '../sim/sweep/run-cell.js';
import type { SweepCell, SweepWorkload } from '../sim/sweep/types.js';
import type { SimScenario } from '../sim/types.js';
import { sleepersOf } from '../sim/world/first-state.js';
import { wakeMs } from '../src/engine/weight-moves.js';
import { count, orEnd, positive, scriptFlags } from './flags.js';
import { mean, printTable } from './print.js';
import { SMALL_TITLES, smallRows } from './residency-small.js';
import { loadWorkload } from './slo/load.js';
import { SHIPPED } from './slo/sources.js';
import { readSpec } from './slo/spec.js';

/** The best fixed ordering of the benchmark, so that no time goes into replays. */
const POLICY = 'edf-sjf-late-last';
const VARIANTS: readonly (readonly [name: string, change: Partial<SweepCell>])[] = [
  ['lru + least loaded, fixed pools', plain({ elasticKv: false })],
  ['lru + least loaded', plain({})],
  ['lru', { node: { weights: 'lru', prefetch: false } }],
  ['lfu', { node: { weights: 'lfu', prefetch: false } }],
  ['value', { node: { weights: 'value', prefetch: false } }],
  ['lru, prefetch (as it comes)', {}],
  ['oracle-residency', { node: { weights: 'oracle-residency', prefetch: false } }],
];

const SHORT_TURNS = ['lru, prefetch, busy ones emptied after 5 s', { minResidencyMs: 5_000 }] as const;

const values = scriptFlags(
  'npm run bench:residency -- [flags]\nHow long calls wait for weights under each policy of what stays in GPU memory.',
  {
    workload: { type: 'string', default: 'one-gpu', help: 'of bench/slo/slo.yaml' },
    loads: { type: 'string', help: 'such as 0.9,1.2; without it those of the benchmark' },
    small: {
      type: 'boolean',
      default: false,
      help: 'random small cases, one a seed, beside the least waiting that is possible',
    },
    seeds: { type: 'string', help: 'how many; without it 3, or 200 small cases' },
    'first-seed': { type: 'string', help: 'the first of them; without it that of the benchmark' },
    quick: { type: 'boolean', default: false, help: 'short runs' },
  },
);
const spec = readSpec();
const found = spec.workloads.find(({ name }) => name === values.workload);
if (!found) {
  console.error(`--workload: no ${values.workload}; there are ${spec.workloads.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const workload = await loadWorkload(found, spec, values.quick ? 'quick' : 'full', SHIPPED);
const { seeds, loads } = orEnd(() => {
  const first = values['first-seed'] === undefined ? spec.firstSeed : count('--first-seed', values['first-seed']);
  return {
    seeds: Array.from(
      { length: count('--seeds', values.seeds ?? (values.small ? '200' : '3')) },
      (_, index) => first + index,
    ),
    loads: values.loads?.split(',').map((load) => positive('--loads', load)) ?? spec.loads,
  };
});
if (values.small) {
  const variants = [
    ...VARIANTS.map(([name, { node, placement }]) => [name, { node, placement }] as const),
    SHORT_TURNS,
  ];
  printTable(
    `small cases ${seeds[0]} to ${seeds.at(-1)}; seconds that all calls of a case wait together`,
    SMALL_TITLES,
    smallRows(seeds, variants),
  );
  process.exit();
}
const rows: string[][] = [];
for (const load of loads) {
  const bounds: number[] = [];
  for (const [name, change] of VARIANTS) {
    const runs = seeds.map((seed) => run(workload, load, seed, change, name === 'value' ? bounds : undefined));
    const column = (key: 'attainment' | 'held' | 'asleep' | 'wakes') => mean(runs.map((each) => each[key]));
    rows.push([
      `${load}`,
      name,
      (100 * column('attainment')).toFixed(1),
      column('held').toFixed(0),
      column('asleep').toFixed(0),
      column('wakes').toFixed(0),
    ]);
  }
  rows.push([`${load}`, 'lower bound', '', mean(bounds).toFixed(0), mean(bounds).toFixed(0), '']);
}
printTable(
  `${values.workload}, class deadlines, ${POLICY}, seeds ${seeds.join(', ')}; request-seconds a run, mean of the seeds`,
  ['load', 'residency', 'in time %', 'held for weights s', 'waiting while asleep s', 'calls held'],
  rows,
);

function plain(node: NonNullable<SweepCell['node']>): Partial<SweepCell> {
  return { node: { weights: 'lru', prefetch: false, retention: 'none', ...node }, placement: 'least-loaded' };
}

function run(traffic: SweepWorkload, load: number, seed: number, change: Partial<SweepCell>, bounds?: number[]) {
  const cell: SweepCell = {
    ...{ workload: traffic.name, deadlineRule: 'class', policy: POLICY, load, seed },
    ...{ placement: 'maestro', reservation: 'predicted', prediction: { kind: 'online' } },
    ...change,
  };
  const scenario = scenarioOf(traffic, cell, 'timeline');
  const result = runSimulation(scenario);
  bounds?.push(boundOf(scenario, result.stages) / 1000);
  const { attainment, coldStarts } = rowOf(traffic, cell, result, scenario);
  return {
    attainment,
    held: coldStarts.requestSeconds,
    asleep: asleepMs(result.fleet.samples, result.stages) / 1000,
    wakes: coldStarts.count,
  };
}

/**
 * Milliseconds that calls waited, in the queue or held, while no engine of their model was awake. What the node counts is the held ones alone, and it lets only a few be held
 * for a model that sleeps.
 */
function asleepMs(samples: readonly NodeSample[], stages: readonly StageRecord[]): number {
  const times = [...new Set(samples.map(({ atMs }) => atMs))];
  const indexOf = new Map(times.map((atMs, index) => [atMs, index]));
  const asleep = new Map<string, Uint8Array>();
  for (const { model } of samples) if (!asleep.has(model)) asleep.set(model, new Uint8Array(times.length).fill(1));
  for (const { atMs, model, state } of samples) {
    if (state === 'running' || state === 'draining') asleep.get(model)![indexOf.get(atMs)!] = 0;
  }
  const stepMs = times.length > 1 ? times[1]! - times[0]! : 0;
  let sumMs = 0;
  for (const { model, startMs, queueMs, coldStartMs } of stages) {
    const byTime = asleep.get(model);
    if (!byTime || queueMs === undefined) continue;
    const endMs = startMs + queueMs + (coldStartMs ?? 0);
    for (let at = Math.ceil(startMs / stepMs); at < times.length && times[at]! < endMs; at++) {
      sumMs += byTime[at]! * stepMs;
    }
  }
  return sumMs;
}

/** Of one node with one engine for each model, which is where the bound can be computed. */
function boundOf({ nodes }: SimScenario, stages: readonly StageRecord[]): number {
  const [node, ...others] = nodes;
  if (!node || others.length > 0 || node.gpus.length !== 1) return Number.NaN;
  const asleep = sleepersOf(node.engines, node.gpus);
  const calls = stages.map(({ model, startMs }) => ({ model, atMs: startMs })).sort((a, b) => a.atMs - b.atMs);
  const residues = node.engines.reduce((sum, { residueBytes }) => sum + residueBytes, 0);
  const models = new Map(
    node.engines.map(({ engineId, model, weightBytes, kvPoolBytes, kvLeastBytes = kvPoolBytes, gpu }) => [
      model,
      { bytes: weightBytes + kvLeastBytes, wakeMs: wakeMs(gpu!, weightBytes), awake: !asleep(engineId) },
    ]),
  );
  return leastColdStartMs(calls, models, node.gpus[0]!.memoryBytes - residues);
}
