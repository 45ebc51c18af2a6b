/**
 * Does the step-time model generalise? Fits the constants that come from measured servers (`EXPERTS`, `HOST` and the 8- and 4-bit families of the
 * B200 in src/engine/step-constants.ts) to a part of a file of measured closed loops, from the constants of the nearest relative that kernel sums
 * are known for, and prints the errors on that part and on the rest, for several ways to part it.
 *
 *   npm run bench:silicon-fit -- measured_latency.csv
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { runClosedLoop } from '../sim/validate/closed-loop.js';
import { readCsv } from '../sim/validate/csv.js';
import { summariseErrors } from '../sim/validate/errors.js';
import { fitConstants } from '../sim/validate/fit.js';
import { type Cells, planSiliconRow, type RowPlan, SILICON_COLUMNS } from '../sim/validate/silicon.js';
import { type StepConstants, stepConstants } from '../src/engine/step-constants.js';
import { findGpu } from '../src/model/gpu-catalogue.js';
import type { Dtype } from '../src/model/llm.js';

interface Row extends RowPlan {
  readonly cells: Cells;
  /** Place among the rows of its partition. */
  readonly place: number;
}
type Constants = Partial<StepConstants>;
type Fitted = ReadonlyMap<string, Constants>;

const DENSE = [
  ...(['weightBandwidthShare', 'gemmShare', 'corner', 'attentionLaunchMs', 'attentionShare'] as const),
  ...(['allReduceMs', 'allReduceBandwidth'] as const),
] as const;
const EXPERT = ['moeLayerMs', 'expertBandwidthShare', 'expertGemmShare'] as const;
const HOST_START = { hostStepMs: 1, hostSeqMs: 0.05, prefillLayerMs: 0.05 };

/** Nothing is faster than its datasheet; a corner sharper than this is a maximum. */
const MOST: Partial<Record<keyof StepConstants, number>> = {
  ...{ weightBandwidthShare: 0.95, gemmShare: 0.95, attentionShare: 0.75, corner: 6 },
  ...{ expertBandwidthShare: 0.95, expertGemmShare: 0.95 },
};

const isBlackwell = (row: Row) => row.config.gpu.name.startsWith('b');
const denseGroup = (row: Row) => {
  const { weightDtype } = row.config;
  return isBlackwell(row) && (weightDtype === 'fp8' || weightDtype === 'mxfp4') ? `B200 ${weightDtype}` : undefined;
};
const expertGroup = (row: Row) =>
  row.config.llm.moe ? `experts ${isBlackwell(row) ? 'Blackwell' : 'Hopper'} ${row.config.weightDtype}` : undefined;

/** Relative errors beyond this count as this: a few rows wait for what the file does not tell of. */
const WORST = Math.log(1.5);
/** The time to first token hangs on unknown load generators, so it counts less. */
const TTFT_WEIGHT = 0.25;

function simulate(row: Row, constants: Constants) {
  return runClosedLoop({ ...row.config, constants }, row.loop);
}

function errorOf(rows: readonly Row[], constantsOf: (row: Row) => Constants): number {
  let sum = 0;
  for (const row of rows) {
    const { ttftMs, tpotMs } = simulate(row, constantsOf(row));
    const size = (ours: number, measured: string) => Math.min(WORST, Math.abs(Math.log(ours / Number(measured))));
    sum += size(tpotMs, row.cells.silicon_tpot_ms) + TTFT_WEIGHT * size(ttftMs, row.cells.silicon_ttft_ms);
  }
  return sum / rows.length;
}

const constantsOf = (fitted: Fitted) => (row: Row) => ({
  ...fitted.get('host'),
  ...fitted.get(denseGroup(row) ?? ''),
  ...fitted.get(expertGroup(row) ?? ''),
});

/** Where a search starts: the family's own bf16 constants. */
function startOf<Name extends keyof StepConstants>(names: readonly Name[], gpu: string, dtype: Dtype) {
  const all = stepConstants(findGpu(gpu)!, dtype, 1);
  return Object.fromEntries(names.map((name) => [name, all[name]])) as Record<Name, number>;
}

/** Fits group after group; a group without rows to learn from stays unfitted. */
function fitAll(rows: readonly Row[]): Fitted {
  const fitted = new Map<string, Constants>();
  const learn = <Name extends keyof StepConstants>(
    group: string,
    members: readonly Row[],
    start: Record<Name, number>,
  ) => {
    if (members.length === 0) return;
    const others = constantsOf(fitted);
    const error = (constants: Readonly<Record<Name, number>>) =>
      errorOf(members, (row) => ({ ...others(row), ...constants }));
    fitted.set(group, fitConstants({ start, most: MOST, error }));
  };
  const dense = rows.filter((row) => !row.config.llm.moe);
  const serial = dense.filter((row) => row.config.hostWork === 'serial' && row.config.llm.name !== 'llama-3.1-8b');
  learn('host', serial, HOST_START);
  for (const group of new Set(dense.map(denseGroup))) {
    if (group === undefined) continue;
    const members = dense.filter((row) => denseGroup(row) === group);
    learn(group, members, startOf(DENSE, 'b200-sxm', 'bf16'));
  }
  for (const group of new Set(rows.map(expertGroup))) {
    if (group === undefined) continue;
    const members = rows.filter((row) => expertGroup(row) === group);
    learn(group, members, startOf(EXPERT, members[0]!.config.gpu.name, 'bf16'));
  }
  return fitted;
}

interface Split {
  readonly name: string;
  learns(row: Row): boolean;
}
const SPLITS: readonly Split[] = [
  { name: 'every other row of each partition', learns: (row) => row.place % 2 === 0 },
  { name: 'B200 and H100, judged on B300 and H200', learns: ({ config: { gpu } }) => /^(b200|h100)/.test(gpu.name) },
  { name: 'prompts up to 1024, judged on longer ones', learns: ({ loop }) => loop.promptTokens <= 1024 },
  { name: 'up to 32 in flight, judged on more', learns: ({ loop }) => loop.concurrency <= 32 },
  { name: 'groups of 1 and 2 GPUs, judged on 4 and 8', learns: ({ config }) => config.tp <= 2 },
];

function report(name: string, rows: readonly Row[], fitted: Fitted): void {
  // What nothing was learnt for cannot be judged.
  const judged = rows.filter((row) => [denseGroup(row), expertGroup(row)].every((each) => !each || fitted.has(each)));
  const of = constantsOf(fitted);
  for (const family of ['dense', 'moe'] as const) {
    const members = judged.filter((row) => row.partition.family === family);
    const results = members.map((row) => ({ ...simulate(row, of(row)), cells: row.cells }));
    const tpot = summariseErrors(results.map(({ tpotMs, cells }) => [tpotMs, Number(cells.silicon_tpot_ms)]));
    const ttft = summariseErrors(results.map(({ ttftMs, cells }) => [ttftMs, Number(cells.silicon_ttft_ms)]));
    const percent = (value: number) => `${(100 * value).toFixed(1)} %`.padStart(8);
    process.stdout.write(
      `  ${name.padEnd(10)}${family.padEnd(6)}${String(members.length).padStart(4)} rows   TPOT ${percent(tpot.median)} p90 ${percent(tpot.p90)} bias ${percent(tpot.bias)}   TTFT ${percent(ttft.median)}\n`,
    );
  }
}

const [path, wanted] = process.argv.slice(2);
if (!path) throw new Error('usage: npm run bench:silicon-fit -- FILE.csv [part of the name of a split]');
const rows: Row[] = [];
const places = new Map<string, number>();
for await (const read of readCsv(createInterface({ input: createReadStream(path) }), SILICON_COLUMNS)) {
  if ('broken' in read) continue;
  const { cells } = read;
  const plan = cells.backend === 'vllm' ? planSiliconRow(cells) : 'another backend';
  // Answers of one token have no time between tokens to fit. Data-parallel ranks are judged by what the others teach.
  if (typeof plan === 'string' || plan.loop.outputTokens === 1 || plan.partition.dataParallel) continue;
  const key = JSON.stringify(plan.partition);
  const place = places.get(key) ?? 0;
  places.set(key, place + 1);
  rows.push({ ...plan, cells, place });
}
for (const { name, learns } of SPLITS.filter((split) => wanted === undefined || split.name.includes(wanted))) {
  const learnt = rows.filter(learns);
  const fitted = fitAll(learnt);
  process.stdout.write(`${name}\n`);
  report('learnt', learnt, fitted);
  report(
    'held back',
    rows.filter((row) => !learns(row)),
    fitted,
  );
  for (const [group, constants] of fitted) {
    const texts = Object.entries(constants).map(([key, value]) => `${key} ${Number(value).toPrecision(3)}`);
    process.stdout.write(`    ${group}: ${texts.join(', ')}\n`);
  }
}
