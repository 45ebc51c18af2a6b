/**
 * How good predictions are, beside their goals: `npm run bench:accuracy [-- --traces DIR --json --trees 200 --leaves 31]`.
 *
 * For each source a model is trained on 70 % of its tasks and judged on the other 30 %, in time order, with statistics and calibration running. `--traces` is
 * a folder with a sub-folder for each source, named like the formats of `maestro trace import`; without it the shipped traces are judged, which lack
 * two of the ten sources that the goals are means of. Takes some minutes.
 */
import { parseArgs } from 'node:util';
import { goalsOf } from '../sim/predict/goals.js';
import type { JudgedHistory } from '../sim/predict/judge-calls.js';
import { judgeKeptBack } from '../sim/predict/judge-kept-back.js';
import { traceCalls } from '../sim/predict/trace-calls.js';
import { DEFAULT_TRAINING } from '../src/predict/training/train-model.js';
import { MissingSource, SHIPPED, traceFolder } from './slo/sources.js';

const { values: flags } = parseArgs({
  options: {
    traces: { type: 'string' },
    json: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(DEFAULT_TRAINING.seed) },
    trees: { type: 'string', default: String(DEFAULT_TRAINING.trees) },
    leaves: { type: 'string', default: String(DEFAULT_TRAINING.leaves) },
    'learning-rate': { type: 'string', default: String(DEFAULT_TRAINING.learningRate) },
  },
});

const SOURCES = ['chatdev', 'dylan', 'kv-cache-tester', 'marble', 'tau-bench', 'who-and-when'];
const SHIPPED_SOURCES = SOURCES.filter((source) => source !== 'chatdev' && source !== 'who-and-when');
const KEPT_BACK = 0.3;

const options = {
  ...DEFAULT_TRAINING,
  seed: Number(flags.seed),
  trees: Number(flags.trees),
  leaves: Number(flags.leaves),
  learningRate: Number(flags['learning-rate']),
};
const folder = flags.traces === undefined ? SHIPPED : await traceFolder(flags.traces);
const judged: JudgedHistory[] = [];
for (const source of flags.traces === undefined ? SHIPPED_SOURCES : SOURCES) {
  try {
    const { rows } = await folder.open(`traces/data/${source}.jsonl.gz`);
    judged.push(judgeKeptBack(traceCalls(rows), options, KEPT_BACK));
    console.error(`${source}: judged`);
  } catch (error) {
    if (!(error instanceof MissingSource)) throw error;
    console.error(`${source}: skipped, ${error.message}`);
  }
}
const result = goalsOf(judged);
if (!result) throw new Error('no source with known lengths');
if (flags.json) console.log(JSON.stringify({ options, keptBack: KEPT_BACK, ...result }, null, 2));
else print(result);

function print({ errors, goals }: NonNullable<typeof result>): void {
  const cells = (...texts: string[]) => texts.map((text, index) => (index === 0 ? text.padEnd(20) : text.padStart(13)));
  const head = ['source', 'calls', 'MAE', 'role median', 'phase median', 'best lookup', 'vs role', 'vs phase'];
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  console.log(
    `${options.trees} trees x ${options.leaves} leaves, learning rate ${options.learningRate}, seed ${options.seed}`,
  );
  console.log(cells(...head).join(''));
  for (const { source, calls, mae, roleMedian, phaseMedian, bestLookup } of errors) {
    const tokens = [mae, roleMedian, phaseMedian, bestLookup].map((value) => value.toFixed(1));
    const against = [mae / roleMedian - 1, mae / phaseMedian - 1].map(percent);
    console.log(cells(source, String(calls), ...tokens, ...against).join(''));
  }
  console.log('');
  for (const { name, measured, goal, better, isMet } of goals) {
    const figure = (value: number) => value.toFixed(3);
    const sign = better === 'above' ? '>=' : '<=';
    const text = measured === undefined ? '-' : figure(measured);
    console.log(`${isMet ? 'met   ' : 'MISSED'}  ${name.padEnd(56)}${text.padStart(9)}  ${sign} ${figure(goal)}`);
  }
}
