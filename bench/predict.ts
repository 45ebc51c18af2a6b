/**
 * What a prediction costs: all six outputs of one stage, by the evaluators that can serve it: `npm run bench:predict [-- --json --rows 20000]`.
 *
 * Two models are trained here on made-up rows, so that trees have the shapes that training gives them; the third is the one that ships, for a template that no
 * correction is made for, and for the one whose corrections are largest. Every row is another one: a processor
 * that learned the way through the trees from the row before would be told off by real traffic. Features are made elsewhere and not counted.
 */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { defaultModelPath } from '../src/cli/package-files.js';
import { SeededRng } from '../src/model/rng.js';
import { modelFileOf } from '../src/predict/directory/service.js';
import { FEATURE_NAMES } from '../src/predict/features.js';
import { answeredOutputs, correctionsOf, requiredEnsembles } from '../src/predict/onnx/check-model.js';
import type { TreeModel } from '../src/predict/onnx/model.js';
import { readModel } from '../src/predict/onnx/read.js';
import { writeModel } from '../src/predict/onnx/write.js';
import { probeOnnxRuntime } from '../src/predict/runtime/service.js';
import { STAGE_MODEL_REQUIREMENTS } from '../src/predict/stage-model.js';
import { binFeatures } from '../src/predict/trees/bins.js';
import { predictRow } from '../src/predict/trees/evaluate.js';
import { type Corrections, Forest } from '../src/predict/trees/forest.js';
import { trainOnBins } from '../src/predict/trees/train.js';
import { DEFAULT_GBDT_PARAMS, type GbdtParams } from '../src/predict/trees/types.js';
import { count, orEnd, scriptFlags } from './flags.js';

const flags = scriptFlags(
  'npm run bench:predict -- [flags]\nWhat a prediction costs, by the evaluators that can serve it.',
  {
    rows: { type: 'string', default: '20000', help: 'calls of each case' },
    json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
  },
);

const FEATURES = FEATURE_NAMES.length;
const TRAINING_ROWS = 8000;
const CALLS = orEnd(() => count('--rows', flags.rows));
const BATCH = 64;
/** Goals of the issue, for all outputs of a stage: 50 trees × 15 leaves, and 200 × 31. */
const SHAPES = [
  { trees: 50, leaves: 15, goalP50Us: 20, goalP99Us: 300 },
  { trees: 200, leaves: 31, goalP50Us: 100, goalP99Us: 300 },
];
const OUTPUTS: { name: string; objective: GbdtParams['objective']; alpha?: number }[] = [
  { name: 'tool_probability', objective: 'binary' },
  { name: 'log_tokens_q30', objective: 'quantile', alpha: 0.3 },
  { name: 'log_tokens_q50', objective: 'quantile', alpha: 0.5 },
  { name: 'log_tokens_q95', objective: 'quantile', alpha: 0.95 },
  { name: 'log_tokens_mean', objective: 'l2' },
  { name: 'log_remaining_ms', objective: 'l1' },
];

interface Row {
  readonly model: string;
  readonly evaluator: string;
  readonly p50Us: number;
  readonly p99Us: number;
}

const rng = new SeededRng(1);
const columns = Array.from({ length: FEATURES }, (_, index) => `feature ${index}`);
const values = Float64Array.from({ length: TRAINING_ROWS * FEATURES }, () =>
  rng.next() < 0.1 ? Number.NaN : rng.next() * 10,
);
const target = Float64Array.from({ length: TRAINING_ROWS }, (_, row) => {
  const of = (column: number) => Math.sin((values[row * FEATURES + column]! || 3) * (1 + column / 10));
  return columns.reduce((sum, _name, column) => sum + of(column), rng.next());
});
const table = binFeatures({ rows: TRAINING_ROWS, columns, values }, DEFAULT_GBDT_PARAMS.maxBins);

function makeModel(trees: number, leaves: number): TreeModel {
  const outputs = OUTPUTS.map(({ name, objective, alpha }) => {
    const own = objective === 'binary' ? target.map((value) => (value > 0 ? 1 : 0)) : target;
    const { ensemble } = trainOnBins(table, own, { ...DEFAULT_GBDT_PARAMS, objective, alpha, trees, leaves });
    return { name, ensemble };
  });
  return { features: columns, featureCount: FEATURES, outputs, metadata: new Map() };
}

function quantiles(model: string, evaluator: string, timesUs: number[]): Row {
  timesUs.sort((a, b) => a - b);
  const at = (share: number) => timesUs[Math.min(timesUs.length - 1, Math.floor(timesUs.length * share))]!;
  return { model, evaluator, p50Us: at(0.5), p99Us: at(0.99) };
}

/** A row of the table far from the last one. */
function offsetOf(call: number): number {
  return ((call * 7919) % TRAINING_ROWS) * FEATURES;
}

function time(model: string, evaluator: string, predict: (offset: number) => void): Row {
  for (let call = 0; call < 3000; call++) predict(offsetOf(call));
  const timesUs: number[] = [];
  for (let call = 0; call < CALLS; call++) {
    const startedMs = performance.now();
    predict(offsetOf(call));
    timesUs.push((performance.now() - startedMs) * 1000);
  }
  return quantiles(model, evaluator, timesUs);
}

/** The session's own time (`run` is synchronous inside) with the tensors made and the results read. */
async function timeRuntime(model: string, file: Uint8Array, batch: number): Promise<Row | undefined> {
  const probe = await probeOnnxRuntime();
  if (!probe.available) return undefined;
  const names = OUTPUTS.map((output) => output.name);
  const session = await probe.runtime.open(file, names);
  const timesUs: number[] = [];
  const rows = new Float32Array(batch * FEATURES);
  for (let call = 0; call < CALLS / Math.max(1, batch / 4); call++) {
    const startedMs = performance.now();
    for (let index = 0; index < batch; index++) {
      const offset = offsetOf(call * batch + index);
      rows.set(values.subarray(offset, offset + FEATURES), index * FEATURES);
    }
    const results = await session.run(rows, batch);
    if (Number.isNaN(results.get('log_tokens_q50')?.[0])) throw new Error('no prediction came back');
    timesUs.push(((performance.now() - startedMs) * 1000) / batch);
  }
  await session.release();
  // The first runs are cold; of few rows at most half are.
  const warm = timesUs.slice(Math.min(200, timesUs.length >> 1));
  return quantiles(model, `ONNX Runtime, ${batch === 1 ? 'one row' : `${batch} rows, per row`}`, warm);
}

const rows: Row[] = [];
const misses: string[] = [];
for (const { trees, leaves, goalP50Us, goalP99Us } of SHAPES) {
  const name = `${trees} trees x ${leaves} leaves`;
  const model = makeModel(trees, leaves);
  const ensembles = model.outputs.map((output) => output.ensemble);
  const forest = new Forest(ensembles);
  const into = new Float64Array(OUTPUTS.length);
  let sum = 0;
  const fast = time(name, 'TypeScript, Forest', (offset) => forest.predict(values, offset, into));
  rows.push(fast);
  rows.push(
    time(name, 'TypeScript, predictRow', (offset) => {
      for (const ensemble of ensembles) sum += predictRow(ensemble, values, offset);
    }),
  );
  const file = writeModel(model);
  for (const batch of [1, BATCH]) {
    const row = await timeRuntime(name, file, batch);
    if (row) rows.push(row);
  }
  if (Number.isNaN(sum)) throw new Error('no prediction was made');
  if (!flags.json) console.log(`${name}, ${OUTPUTS.length} outputs: file of ${Math.round(file.length / 1000)} kB`);
  if (fast.p50Us > goalP50Us) misses.push(`${name}: p50 ${fast.p50Us.toFixed(1)} us, goal ${goalP50Us}`);
  if (fast.p99Us > goalP99Us) misses.push(`${name}: p99 ${fast.p99Us.toFixed(1)} us, goal ${goalP99Us}`);
}

await timeShipped();

/** The model that ships: rows of its own table would tell more of its cost, but are not in the repository as features. */
async function timeShipped(): Promise<void> {
  const file = await readFile(await modelFileOf(defaultModelPath()));
  const model = readModel(file);
  const ensembles = requiredEnsembles(model, STAGE_MODEL_REQUIREMENTS);
  const outputs = answeredOutputs(model, STAGE_MODEL_REQUIREMENTS).length;
  const { byTemplate } = correctionsOf(model, STAGE_MODEL_REQUIREMENTS);
  const forest = new Forest(ensembles);
  const into = new Float64Array(outputs);
  const treesOf = (corrections: Corrections) =>
    corrections.reduce((sum, ensemble) => sum + (ensemble < 0 ? 0 : ensembles[ensemble]!.roots.length), 0);
  const largest = [...byTemplate].sort(([, a], [, b]) => treesOf(b) - treesOf(a))[0];
  if (!flags.json)
    console.log(`the model that ships, ${outputs} outputs: file of ${Math.round(file.length / 1000)} kB`);
  for (const [template, corrections] of [['any template', undefined] as const, ...(largest ? [largest] : [])]) {
    const row = time('the model that ships', `TypeScript, ${template}`, (offset) => {
      forest.predict(values, offset, into, 0, outputs, corrections);
    });
    rows.push(row);
    const { goalP50Us, goalP99Us } = SHAPES[0]!;
    if (row.p50Us > goalP50Us)
      misses.push(`${row.model}, ${template}: p50 ${row.p50Us.toFixed(1)} us, goal ${goalP50Us}`);
    if (row.p99Us > goalP99Us)
      misses.push(`${row.model}, ${template}: p99 ${row.p99Us.toFixed(1)} us, goal ${goalP99Us}`);
  }
}

if (flags.json) {
  console.log(JSON.stringify({ cpu: cpus()[0]?.model, node: process.version, calls: CALLS, rows, misses }, null, 2));
} else {
  console.log(`${cpus()[0]?.model}, Node ${process.version}, ${CALLS} calls\n`);
  for (const row of rows) {
    const times = [row.p50Us, row.p99Us].map((us) => us.toFixed(1).padStart(8)).join('');
    console.log(`${row.model.padEnd(24)}${row.evaluator.padEnd(34)}${times}`);
  }
  console.log(misses.length === 0 ? '\nall goals met' : `\ngoals missed: ${misses.join('; ')}`);
}
