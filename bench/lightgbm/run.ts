/**
 * The own trainer of trees beside LightGBM, on the same tables with the same settings: `npm run bench:lightgbm -- --python PYTHON [--traces DIR]`.
 * PYTHON is an interpreter that has `lightgbm` and `numpy`. Each source is split by task, 70 % to train and 30 % to judge; one model of the median of the
 * log length is trained on it by either, with all features in every tree and no early stop, so that nothing but the trainers differs.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { traceCalls } from '../../sim/predict/trace-calls.js';
import { renderTable } from '../../src/cli/output.js';
import { FEATURE_NAMES } from '../../src/predict/features.js';
import { keptBack } from '../../src/predict/training/split.js';
import { selectRows, type TrainingTable, trainingTable } from '../../src/predict/training-table.js';
import { predictBatch } from '../../src/predict/trees/evaluate.js';
import { trainGbdt } from '../../src/predict/trees/train.js';
import { DEFAULT_GBDT_PARAMS } from '../../src/predict/trees/types.js';
import { count, orEnd, scriptFlags } from '../flags.js';
import { SHIPPED, traceFolder } from '../slo/sources.js';

const flags = scriptFlags(
  'npm run bench:lightgbm -- [flags]\nThe own trainer of trees beside LightGBM, on the same tables with the same settings.',
  {
    python: { type: 'string', default: 'python3', help: 'an interpreter that has lightgbm and numpy' },
    traces: { type: 'string', help: 'folder with a sub-folder for each source; without it the shipped traces' },
    trees: { type: 'string', default: '200', help: 'trees of a model' },
    leaves: { type: 'string', default: '31', help: 'leaves of a tree' },
    seed: { type: 'string', default: '1', help: 'of the splits' },
  },
);
const SOURCES = ['marble', 'dylan', 'kv-cache-tester', 'tau-bench'];
const { seed, ...settings } = orEnd(() => ({
  seed: count('--seed', flags.seed),
  trees: count('--trees', flags.trees),
  leaves: count('--leaves', flags.leaves),
  learningRate: 0.05,
}));

const own: Record<string, number> = {};
const minLeafRows: Record<string, number> = {};
const folder = flags.traces === undefined ? SHIPPED : await traceFolder(flags.traces);
const scratch = mkdtempSync(join(tmpdir(), 'maestro-lightgbm-'));
try {
  for (const source of SOURCES) await prepare(source);
  const { lambdaL2, maxBins } = DEFAULT_GBDT_PARAMS;
  const shared = { ...settings, lambdaL2, maxBins, minLeafRows, sources: SOURCES, columns: FEATURE_NAMES.length };
  writeFileSync(join(scratch, 'settings.json'), JSON.stringify(shared));
  const script = join(import.meta.dirname, 'compare.py');
  const answer = JSON.parse(execFileSync(flags.python, [script, scratch], { encoding: 'utf8' }));
  console.log(`${settings.trees} trees x ${settings.leaves} leaves, MAE in tokens; LightGBM ${answer.lightgbm}`);
  const rows = SOURCES.map((source) => {
    const theirs: number = answer.errors[source];
    return [source, own[source]!.toFixed(2), theirs.toFixed(2), `${((own[source]! / theirs - 1) * 100).toFixed(2)} %`];
  });
  const titles = ['source', 'own trainer', 'LightGBM', 'own against it'];
  console.log(
    renderTable(
      titles.map((title, index) => ({ title, align: index === 0 ? 'left' : 'right' })),
      rows,
    ),
  );
} finally {
  rmSync(scratch, { recursive: true });
}

/** Trains and judges the own model of a source, and writes the tables down. */
async function prepare(source: string): Promise<void> {
  const { rows } = await folder.open(`traces/data/${source}.jsonl.gz`);
  const history = traceCalls(rows);
  const table = trainingTable(history);
  const isKept = keptBack(history, 'task', 0.3, seed);
  const part = (kept: boolean) =>
    selectRows(
      table,
      (row) => !Number.isNaN(table.logTokens[row]!) && isKept(history.calls[table.calls[row]!]!) === kept,
    );
  const [train, judged] = [part(false), part(true)];
  minLeafRows[source] = DEFAULT_GBDT_PARAMS.minLeafRows;
  const params = { ...DEFAULT_GBDT_PARAMS, ...settings, objective: 'l1' } as const;
  const { ensemble } = trainGbdt(train.matrix, train.logTokens, params);
  const predicted = predictBatch(ensemble, judged.matrix.values, judged.matrix.rows);
  const errors = predicted.map((value, row) => Math.abs(Math.expm1(value) - Math.expm1(judged.logTokens[row]!)));
  own[source] = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  write(`${source}.train`, train);
  write(`${source}.judged`, judged);
  console.error(`${source}: ${train.matrix.rows} calls to train, ${judged.matrix.rows} to judge`);
}

function write(name: string, { matrix, logTokens }: TrainingTable): void {
  writeFileSync(
    join(scratch, name),
    new Uint8Array(matrix.values.buffer, matrix.values.byteOffset, matrix.values.byteLength),
  );
  writeFileSync(
    join(scratch, `${name}-target`),
    new Uint8Array(logTokens.buffer, logTokens.byteOffset, logTokens.byteLength),
  );
}
