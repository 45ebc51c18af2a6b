/**
 * How good predictions are, beside their goals: `npm run bench:accuracy [-- --traces DIR --text --json --trees 200 --leaves 31]`.
 *
 * For each source a model is trained on 70 % of its tasks and judged on the other 30 %, in time order, with statistics and calibration running. `--traces` is
 * a folder with a sub-folder for each source, named like the formats of `maestro trace import`; without it the shipped traces are judged, which lack
 * two of the ten sources that the goals are means of. Takes some minutes. `--drift` instead trains on all sources but one, and judges the one that was left out
 * from its first call on; that takes as long for each source. `--text` (with `--traces`) lets the models see hashed words of the last messages, where the importers
 * know them (chatdev, marble, tau-bench), `--embedder DIR` what a sentence embedder says of them (minutes to hours of its own). `--sources chatdev,marble` judges only these.
 */
import { goalsOf, sourceOf } from '../sim/predict/goals.js';
import { InputForest } from '../sim/predict/input-forest.js';
import type { JudgedHistory } from '../sim/predict/judge-calls.js';
import { judgeKeptBack, tooFewToJudge } from '../sim/predict/judge-kept-back.js';
import { judgeUnseen } from '../sim/predict/judge-unseen.js';
import { predictionReport } from '../sim/predict/report.js';
import { traceCalls } from '../sim/predict/trace-calls.js';
import { MaestroError } from '../src/model/error.js';
import { loadEmbedder } from '../src/predict/embedder/service.js';
import { type CallHistory, filterHistory, taughtTokens } from '../src/predict/examples.js';
import { keptBack } from '../src/predict/training/split.js';
import { DEFAULT_TRAINING } from '../src/predict/training/train-model.js';
import { count, orEnd, positive, scriptFlags } from './flags.js';
import { SHIPPED, traceFolder } from './slo/sources.js';

const flags = scriptFlags(
  'npm run bench:accuracy -- [flags]\nHow good predictions are, on tasks not trained on, beside their goals.',
  {
    traces: { type: 'string', help: 'folder with a sub-folder for each source; without it the shipped traces' },
    sources: { type: 'string', help: 'only these sources, such as chatdev,marble' },
    drift: { type: 'boolean', default: false, help: 'train on all sources but one, judge that one, for each' },
    text: {
      type: 'boolean',
      default: false,
      help: 'let the models see hashed words of the last messages (with --traces)',
    },
    embedder: { type: 'string', help: 'the same with a sentence embedder: folder with model.onnx and tokenizer.json' },
    json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
    seed: { type: 'string', default: String(DEFAULT_TRAINING.seed), help: 'of splits and training' },
    trees: { type: 'string', default: String(DEFAULT_TRAINING.trees), help: 'trees of an output' },
    leaves: { type: 'string', default: String(DEFAULT_TRAINING.leaves), help: 'leaves of a tree' },
    'learning-rate': { type: 'string', default: String(DEFAULT_TRAINING.learningRate), help: 'of boosting' },
  },
);

const SOURCES = ['chatdev', 'dylan', 'kv-cache-tester', 'marble', 'tau-bench', 'who-and-when'];
const SHIPPED_SOURCES = SOURCES.filter((source) => source !== 'chatdev' && source !== 'who-and-when');
const KEPT_BACK = 0.3;

const options = orEnd(() => ({
  ...DEFAULT_TRAINING,
  seed: count('--seed', flags.seed),
  trees: count('--trees', flags.trees),
  leaves: count('--leaves', flags.leaves),
  learningRate: positive('--learning-rate', flags['learning-rate']),
}));
const embedder = flags.embedder === undefined ? undefined : await loadEmbedder(flags.embedder);
const folder =
  flags.traces === undefined ? SHIPPED : await traceFolder(flags.traces, { textGrams: flags.text, embedder });
const histories = new Map<string, CallHistory>();
const asked = flags.sources?.split(',') ?? (flags.traces === undefined ? SHIPPED_SOURCES : SOURCES);
for (const source of asked) {
  try {
    const { rows } = await folder.open(`traces/data/${source}.jsonl.gz`);
    histories.set(source, traceCalls(rows));
  } catch (error) {
    if (!(folder.foreign && error instanceof MaestroError)) throw error;
    console.error(`${source}: skipped, ${error.message}`);
  }
}
for (const line of folder.skipped) console.error(`skipped: ${line}`);
if (flags.drift) drift();
else accuracy();

function accuracy(): void {
  const judged: JudgedHistory[] = [];
  const forests = new Map<string, { calls: number; error: number }>();
  for (const [source, history] of histories) {
    const why = tooFewToJudge(history, options, KEPT_BACK);
    if (why !== undefined) {
      console.error(`${source}: skipped, ${why}`);
      continue;
    }
    const one = judgeKeptBack(history, options, KEPT_BACK);
    judged.push(one);
    addForestErrors(history, one, forests);
    console.error(`${source}: judged`);
    const others = new Set(one.calls.map(({ call }) => call.stage.template).filter((name) => !sourceOf(name)));
    if (others.size > 0)
      console.error(`${source}: not in the table, as no goal is for them: ${[...others].join(', ')}`);
  }
  const result = goalsOf(judged);
  if (!result) {
    console.error('nothing to judge');
    process.exit(1);
  }
  const errors = result.errors.map((each) => {
    const { calls, error } = forests.get(each.source)!;
    return { ...each, inputForest: error / calls };
  });
  const { goals } = result;
  if (flags.json) console.log(JSON.stringify({ options, keptBack: KEPT_BACK, errors, goals }, null, 2));
  else print(errors, goals);
}

/** What a forest of mean type on the length of the prompt gets wrong of the same calls, by source. */
function addForestErrors(
  history: CallHistory,
  judged: JudgedHistory,
  sums: Map<string, { calls: number; error: number }>,
) {
  const isKept = keptBack(history, options.split, KEPT_BACK, options.seed);
  const forest = InputForest.train(filterHistory(history, (call) => !isKept(call)));
  for (const { call, outputTokens } of judged.calls) {
    const source = sourceOf(call.stage.template);
    if (source === undefined || outputTokens === undefined) continue;
    const sum = sums.get(source) ?? { calls: 0, error: 0 };
    sums.set(source, sum);
    sum.calls += 1;
    sum.error += Math.abs(forest.tokens(call.stage.promptTokens) - outputTokens);
  }
}

function drift(): void {
  for (const [source, { calls }] of histories) {
    if (calls.some(({ outcome }) => taughtTokens(outcome) !== undefined)) continue;
    console.error(`${source}: skipped, no call has a known length`);
    histories.delete(source);
  }
  if (histories.size < 2) {
    console.error('nothing to judge: --drift needs two sources, one to learn from and one to judge');
    process.exit(1);
  }
  const rows = [...histories].map(([source, unseen]) => {
    const seen = [...histories].flatMap(([name, history]) => (name === source ? [] : [history]));
    const { byModel, online } = judgeUnseen(seen, unseen, options);
    const [model, lookup] = [predictionReport(byModel)!, predictionReport(online)!];
    console.error(`${source}: judged`);
    return {
      ...{ source, calls: model.length.calls, globalMedian: model.baselines.globalMedian.mae },
      ...{ lookup: lookup.length.mae, model: model.length.mae, kendallTau: model.length.kendallTau },
      ...{ overflow: model.coverage.overflow, overflowAfter1000: model.coverage.overflowAfter1000 },
    };
  });
  if (flags.json) {
    console.log(JSON.stringify({ options, rows }, null, 2));
    return;
  }
  console.log(
    cells('unseen source', 'calls', 'old median', 'online', 'model', 'tau', 'overflow', 'after 1000').join(''),
  );
  for (const { source, calls, globalMedian, lookup, model, kendallTau, overflow, overflowAfter1000 } of rows) {
    const tokens = [globalMedian, lookup, model].map((value) => value.toFixed(1));
    const late = overflowAfter1000 === undefined ? '-' : percent(overflowAfter1000);
    console.log(
      cells(source, String(calls), ...tokens, (kendallTau ?? 0).toFixed(2), percent(overflow), late).join(''),
    );
  }
}

function cells(...texts: string[]): string[] {
  return texts.map((text, index) => (index === 0 ? text.padEnd(20) : text.padStart(13)));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

type Goals = NonNullable<ReturnType<typeof goalsOf>>;

function print(errors: readonly (Goals['errors'][number] & { inputForest: number })[], goals: Goals['goals']): void {
  const head = [
    'source',
    'calls',
    'MAE',
    'role median',
    'phase median',
    'best lookup',
    'input forest',
    'vs role',
    'vs phase',
  ];
  console.log(
    `${options.trees} trees x ${options.leaves} leaves, learning rate ${options.learningRate}, seed ${options.seed}`,
  );
  console.log(cells(...head).join(''));
  for (const { source, calls, mae, roleMedian, phaseMedian, bestLookup, inputForest } of errors) {
    const tokens = [mae, roleMedian, phaseMedian, bestLookup, inputForest].map((value) => value.toFixed(1));
    const against = [mae / roleMedian - 1, mae / phaseMedian - 1].map(percent);
    console.log(cells(source, String(calls), ...tokens, ...against).join(''));
  }
  console.log('');
  for (const { name, measured, goal, better, isMet } of goals) {
    const figure = (value: number) => value.toFixed(3);
    const sign = better === 'above' ? '>=' : '<=';
    const text = measured === undefined ? '-' : figure(measured);
    const verdict = measured === undefined ? 'too few' : isMet ? 'met' : 'MISSED';
    console.log(`${verdict.padEnd(9)}${name.padEnd(56)}${text.padStart(9)}  ${sign} ${figure(goal)}`);
  }
}
