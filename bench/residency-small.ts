import { leastTurnWaitMs, type TurnCall, type TurnModel } from '../sim/bound/turns.js';
import { plannedTurnWaitMs } from '../sim/bound/turns-online.js';
import { quantile } from '../sim/report/stats.js';
import { runSimulation } from '../sim/simulation.js';
import { nodesOf } from '../sim/sweep/node-variant.js';
import type { NodeVariant, Placement } from '../sim/types.js';
import { sleepersOf } from '../sim/world/first-state.js';
import { sleepMs, wakeMs } from '../src/engine/weight-moves.js';
import { EDF_SJF_LATE_LAST } from '../src/global/order/late-last.js';
import { nextExponential, nextInt, type Rng, SeededRng } from '../src/model/rng.js';
import { testScenario } from '../test/sim-scenario.js';
import type { TraceRow } from '../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';
import { mean } from './print.js';

/** The models of the `one-gpu` workload, of which a case has some. */
const MODELS = ['llama-3.1-8b', 'qwen3-14b', 'qwen3-8b', 'qwen3-4b', 'qwen2.5-7b', 'llama-3.2-3b'];
/** KV memory that an awake engine has at least: the more, the fewer are awake at once. */
const LEAST_GIB = [1, 3, 5];
const GPUS = ['l40s', 'h100-sxm'];
/** More make the search long. */
const CALLS = 24;
/** Where the least is less, multiples of it say little: median, p90 and the share within a tenth leave those cases out. */
const SHORT_MS = 1_000;
const PROMPT_TOKENS = 500;

/** Some models on one GPU that does not hold them all, and some calls. */
export interface SmallCase {
  readonly fleet: string;
  readonly workflows: readonly TraceWorkflow[];
}

/** What is different from how things are. */
export interface SmallVariant {
  readonly node?: NodeVariant | undefined;
  readonly placement?: Placement | undefined;
  readonly minResidencyMs?: number;
}

export interface SmallRun {
  /** That all calls waited together until they started. */
  readonly waitMs: number;
  /** That the node counts of it as waiting for weights. */
  readonly heldMs: number;
  /** Calls that were not in time. */
  readonly late: number;
}

/** Three to six models with lent KV memory, in bursts of one to four calls of a model. How often they come and how popular each model is differs from case to case. */
export function smallCase(seed: number): SmallCase {
  const rng = new SeededRng(seed);
  for (;;) {
    const gpu = GPUS[nextInt(rng, GPUS.length)]!;
    const models = shuffled(rng, MODELS).slice(0, 3 + nextInt(rng, MODELS.length - 2));
    const fleet = fleetOf(gpu, models, LEAST_GIB[nextInt(rng, LEAST_GIB.length)]!);
    const { models: sized, capacity } = gpuOf({ fleet, workflows: [] });
    // Where all of them fit nobody ever waits.
    if (sized.reduce((sum, { bytes }) => sum + bytes, 0) > capacity) return { fleet, workflows: calls(rng, models) };
  }
}

/** The least that its calls can wait together for one who knows all of them beforehand; Infinity where that is more than `atMost`. */
export function leastWaitMs(small: SmallCase, atMost?: number): number {
  const { models, capacity } = gpuOf(small);
  return leastTurnWaitMs(turnCalls(small), models, capacity, atMost);
}

/** What they wait for one who knows those that have come, and follows the best plan for them. */
export function plannedWaitMs(small: SmallCase): number {
  const { models, capacity } = gpuOf(small);
  return plannedTurnWaitMs(turnCalls(small), models, capacity);
}

/** One row for each variant, of waits in seconds and as multiples of the least; and one for the best plan. Throws where a case was played with less waiting than the least. */
export function smallRows(
  seeds: readonly number[],
  variants: readonly (readonly [name: string, change: SmallVariant])[],
): string[][] {
  const all: SmallRun[][] = variants.map(() => []);
  const planned: SmallRun[] = [];
  const least: number[] = [];
  for (const seed of seeds) {
    const small = smallCase(seed);
    const runs = variants.map(([, change]) => playSmall(small, change));
    const waitMs = Math.min(...runs.map((run) => run.waitMs));
    least.push(leastWaitMs(small, waitMs));
    if (least.at(-1) === Number.POSITIVE_INFINITY) throw new Error(`case ${seed} was played with less than the least`);
    for (const [at, run] of runs.entries()) all[at]!.push(run);
    planned.push({ waitMs: plannedWaitMs(small), heldMs: Number.NaN, late: Number.NaN });
  }
  const row = (name: string, runs: readonly SmallRun[]): string[] => {
    const waits = runs.map(({ waitMs }) => waitMs);
    const ratios = waits.flatMap((wait, at) => (least[at]! >= SHORT_MS ? [wait / least[at]!] : []));
    const near = ratios.filter((ratio) => ratio <= 1.1).length / ratios.length;
    const fixed = (value: number, digits: number) => (Number.isNaN(value) ? '' : value.toFixed(digits));
    return [
      (mean(waits) / 1000).toFixed(1),
      name,
      (mean(waits) / mean(least)).toFixed(2),
      quantile(ratios, 0.5)!.toFixed(2),
      quantile(ratios, 0.9)!.toFixed(2),
      (100 * near).toFixed(0),
      fixed(mean(runs.map(({ heldMs }) => heldMs)) / 1000, 1),
      fixed((100 * mean(runs.map(({ late }) => late))) / CALLS, 1),
    ];
  };
  return [
    ...variants.map(([name], at) => row(name, all[at]!)),
    row('best plan for the calls that have come', planned),
    row(
      'least, all calls known',
      least.map((waitMs) => ({ waitMs, heldMs: Number.NaN, late: Number.NaN })),
    ),
  ];
}

export const SMALL_TITLES = [
  'wait s',
  'residency',
  'of the least',
  'median',
  'p90',
  'within 10 % of it, %',
  'held s',
  'late %',
];

export function playSmall(
  { fleet, workflows }: SmallCase,
  { node, placement = 'maestro', ...variant }: SmallVariant,
): SmallRun {
  const scenario = testScenario(fleet, workflows, { policy: EDF_SJF_LATE_LAST, node, placement, ...variant });
  const {
    stages,
    fleet: summary,
    workflows: ended,
  } = runSimulation({ ...scenario, nodes: nodesOf(scenario.nodes, node) });
  const waits = stages.map(({ queueMs = 0, coldStartMs = 0 }) => queueMs + coldStartMs);
  return {
    waitMs: waits.reduce((sum, each) => sum + each, 0),
    heldMs: 1000 * summary.coldStarts!.requestSeconds,
    late: ended.filter(({ met }) => !met).length,
  };
}

/** The GPU as the search sees it: every model with the least KV memory that it can have, and its calls as fast as one alone. */
function gpuOf({ fleet, workflows }: SmallCase): { models: TurnModel[]; capacity: number } {
  const { nodes } = testScenario(fleet, []);
  const { engines, gpus } = nodes[0]!;
  const asleep = sleepersOf(engines, gpus);
  const residues = engines.reduce((sum, { residueBytes }) => sum + residueBytes, 0);
  const models = engines.map(({ engineId, model, gpu, weightBytes, kvLeastBytes }): TurnModel => {
    const call = workflows.find(({ rows }) => rows[0]!.model === model);
    return {
      name: model,
      serviceMs: call ? aloneMs(fleet, call) : 0,
      sleepMs: sleepMs(gpu!, weightBytes, 1),
      wakeMs: wakeMs(gpu!, weightBytes),
      bytes: weightBytes + kvLeastBytes!,
      awake: !asleep(engineId),
    };
  });
  return { models, capacity: gpus[0]!.memoryBytes - residues };
}

function aloneMs(fleet: string, call: TraceWorkflow): number {
  const { startMs, endMs, queueMs = 0, coldStartMs = 0 } = runSimulation(testScenario(fleet, [call])).stages[0]!;
  return endMs! - startMs - queueMs - coldStartMs;
}

function turnCalls({ workflows }: SmallCase): TurnCall[] {
  const firstMs = workflows[0]!.arrivalMs!;
  return workflows.map(({ arrivalMs, rows: [call] }) => ({ atMs: arrivalMs! - firstMs, model: call!.model! }));
}

function fleetOf(gpu: string, models: readonly string[], leastGiB: number): string {
  const engines = models.map(
    (model, at) =>
      `        - { id: ${model}, model: ${model}, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, kvcached: { least: ${leastGiB}GiB }, startAsleep: ${at > 0} }`,
  );
  return `
fleet:
  nodes:
    - id: n
      gpus: { type: ${gpu}, count: 1 }
      hostMemory: 256GiB
      engines:
${engines.join('\n')}
`;
}

function calls(rng: Rng, models: readonly string[]): TraceWorkflow[] {
  const outputTokens = new Map(models.map((model) => [model, 100 + nextInt(rng, 500)]));
  const weights = models.map((_, at) => 1 / (1 + at));
  const meanGapMs = 1_000 * 16 ** rng.next();
  const rows: TraceRow[] = [];
  let timestamp = 0;
  while (rows.length < CALLS) {
    const model = models[weighted(rng, weights)]!;
    for (let left = 1 + nextInt(rng, 4); left > 0 && rows.length < CALLS; left--) {
      const request_id = `c${rows.length}`;
      const lengths = { input_length: PROMPT_TOKENS, output_length: outputTokens.get(model)! };
      rows.push({ request_id, workflow_id: request_id, timestamp, model, ...lengths });
    }
    timestamp += nextExponential(rng, meanGapMs);
  }
  return groupWorkflows(rows);
}

function shuffled<T>(rng: Rng, items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: rng.next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

function weighted(rng: Rng, weights: readonly number[]): number {
  let left = rng.next() * weights.reduce((sum, weight) => sum + weight, 0);
  const at = weights.findIndex((weight) => {
    left -= weight;
    return left < 0;
  });
  return at < 0 ? weights.length - 1 : at;
}
