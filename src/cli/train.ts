import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import { judgeKeptBack } from '../../sim/predict/judge-kept-back.js';
import { type PredictionReport, predictionReport } from '../../sim/predict/report.js';
import { reportText } from '../../sim/predict/report-text.js';
import { MaestroError } from '../model/error.js';
import { prepareFolder } from '../observe/make-folder.js';
import { writeModelDirectory } from '../predict/directory/service.js';
import { type CallHistory, taughtTokens } from '../predict/examples.js';
import { staticMedians } from '../predict/training/medians.js';
import { keptBack, SPLIT_KEYS, type SplitKey } from '../predict/training/split.js';
import { stateAfter } from '../predict/training/state-after.js';
import { DEFAULT_TRAINING, type TrainingOptions, trainModel } from '../predict/training/train-model.js';
import { fraction, positive, positiveInteger, twoOrMore } from './numbers.js';
import { printJson } from './output.js';
import { readHistory } from './trace-history.js';

interface TrainArguments {
  readonly out: string;
  readonly report?: boolean;
  readonly json?: boolean;
  readonly seed: number;
  readonly split: SplitKey;
  readonly holdout: number;
  readonly trees: number;
  readonly leaves: number;
  readonly learningRate: number;
  readonly state: boolean;
}

/** `maestro train`: a predictor of output length and tool calls from recorded traces. */
export function registerTrain(program: Command): void {
  program
    .command('train')
    .summary('train the predictor of output lengths and tool calls on traces')
    .description(
      'Trains boosted trees on what was known of each call before it ran, and writes a model directory: model.onnx, model.json (metrics, importance), ' +
        'state.json, medians.json. Equal traces, options and seed give equal files. Needs neither Python nor a GPU.',
    )
    .argument('<traces...>', 'canonical traces, see "maestro trace import"')
    .requiredOption('--out <dir>', 'model directory to write')
    .option('--report', 'keep part of the traces back first, judge a model on it, and print the figures')
    .option('--holdout <share>', 'what --report keeps back', fraction, 0.3)
    .addOption(
      new Option('--split <key>', 'what stays together when calls are kept back; time: what came last')
        .choices(SPLIT_KEYS)
        .default('task'),
    )
    .option('--seed <n>', 'of the splits and the training', positiveInteger, DEFAULT_TRAINING.seed)
    .option('--trees <n>', 'of each of the six outputs, at most', positiveInteger, DEFAULT_TRAINING.trees)
    .option('--leaves <n>', 'of a tree, at most', twoOrMore, DEFAULT_TRAINING.leaves)
    .option('--learning-rate <x>', 'what a tree may change', positive, DEFAULT_TRAINING.learningRate)
    .option('--no-state', 'leave out what was seen of the roles in the traces: for a model that serves others')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro train traces/data/tau-bench.jsonl.gz --out my-model --report\n')
    .action(train);
}

async function train(traces: string[], given: TrainArguments): Promise<void> {
  const history = await readHistory(traces);
  if (!history.calls.some(({ outcome }) => taughtTokens(outcome) !== undefined)) {
    throw new MaestroError('invalid_request', 'No call of these traces has a known length: there is nothing to learn.');
  }
  prepareFolder(given.out);
  const { seed, split, trees, leaves, learningRate, holdout } = given;
  const options: TrainingOptions = { ...DEFAULT_TRAINING, seed, split, trees, leaves, learningRate };
  const metrics = given.report ? reportKeptBack(history, options, holdout) : undefined;
  const trained = trainModel(history, options);
  const info = await writeModelDirectory(given.out, trained, {
    training: { ...options, traces: traces.map((path) => basename(path)) },
    medians: staticMedians(history),
    state: given.state ? stateAfter(history, trained) : undefined,
    ...(metrics ? { metrics: { split, holdout, ...metrics } } : {}),
  });
  if (given.json) printJson({ out: given.out, ...info });
  else {
    if (metrics) process.stdout.write(reportText(metrics, `kept back: ${holdout * 100} % by ${split}`));
    process.stderr.write(`${given.out}: model ${info.version}, ${trained.lengthRows} calls\n`);
  }
}

/** Figures of a model that is trained without a part of the traces, on that part. */
function reportKeptBack(history: CallHistory, options: TrainingOptions, share: number): PredictionReport {
  const isKept = keptBack(history, options.split, share, options.seed);
  if (!history.calls.some((call) => !isKept(call) && taughtTokens(call.outcome) !== undefined)) {
    throw new MaestroError(
      'invalid_request',
      'Everything with a known length was kept back. Use more traces or a smaller --holdout.',
    );
  }
  const report = predictionReport(judgeKeptBack(history, options, share));
  if (report) return report;
  throw new MaestroError(
    'invalid_request',
    'Nothing with a known length was kept back. Use more traces or a larger --holdout.',
  );
}
