import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { judgeCalls } from '../../sim/predict/judge-calls.js';
import { predictionReport } from '../../sim/predict/report.js';
import { reportText } from '../../sim/predict/report-text.js';
import { MaestroError, messageOf } from '../model/error.js';
import { MODEL_FILES, modelFileOf, readMedians, readState } from '../predict/directory/service.js';
import { METADATA_KEY } from '../predict/onnx/model.js';
import { readModel } from '../predict/onnx/read.js';
import { OnlinePredictor } from '../predict/predictor.js';
import { forestModel } from '../predict/stage-model.js';
import { staticMedians } from '../predict/training/medians.js';
import { printJson } from './output.js';
import { defaultModelPath } from './package-files.js';
import { readHistory } from './trace-history.js';

const modelInfo = z.object({ training: z.object({ traces: z.array(z.string()) }) });

interface PredictArguments {
  readonly model?: string;
  readonly state: boolean;
  readonly json?: boolean;
}

/** `maestro predict`: how good a model is on a trace. */
export function registerPredict(program: Command): void {
  program
    .command('predict')
    .summary('judge a predictor on a trace, as it would have served it')
    .description(
      'Runs through traces as they happened: each call is predicted with what was known when it began, and teaches the running statistics and the ' +
        'calibration when it ends. Prints how far off the predictions were, beside baselines. docs/prediction.md says what each figure means.',
    )
    .argument('<traces...>', 'canonical traces that the model was not trained on')
    .option('--model <path>', 'model directory or ONNX file; "online": no model (default: the one that ships)')
    .option('--no-state', 'begin as if nothing had been seen: leave the state of the model directory aside')
    .option('--json', 'print one JSON document, see docs/schemas/predict-report.json')
    .addHelpText('after', '\nExample:\n  $ maestro predict traces/data/servegen-deepseek-r1.jsonl.gz\n')
    .action(predict);
}

async function predict(traces: string[], given: PredictArguments): Promise<void> {
  const path = given.model ?? defaultModelPath();
  const history = await readHistory(traces);
  const isOnline = path === 'online';
  const file = isOnline ? undefined : await loadModel(path);
  const predictor = new OnlinePredictor({ blockTokens: 1, model: file?.stages });
  const state = given.state && !isOnline ? await readState(path) : undefined;
  if (state) predictor.restore(state);
  // Without medians of a training, those of the judged trace itself stand in: a baseline that has seen the answers.
  const medians = (isOnline ? undefined : await readMedians(path)) ?? staticMedians(history);
  if (!isOnline) for (const name of await seenInTraining(path, traces)) process.stderr.write(seenNote(name));
  const report = predictionReport(judgeCalls(history, predictor, medians));
  if (!report) throw new MaestroError('invalid_request', `no call of ${traces.join(', ')} has a known length`);
  const version = file?.metadata.get(METADATA_KEY.version);
  if (given.json) printJson({ maestro_predict_report: 1, model: { path, version }, traces, ...report });
  else process.stdout.write(reportText(report, `model ${version ?? path}`));
}

/** Traces that have the name of one that the model was trained on. */
async function seenInTraining(directory: string, traces: readonly string[]): Promise<string[]> {
  try {
    const { training } = modelInfo.parse(JSON.parse(await readFile(join(directory, MODEL_FILES.info), 'utf8')));
    return traces.map((trace) => basename(trace)).filter((name) => training.traces.includes(name));
  } catch {
    // A model alone does not say what it was trained on.
    return [];
  }
}

function seenNote(name: string): string {
  return `${name}: the model was trained on a trace of this name, and knows the answers; see "maestro train --report"\n`;
}

async function loadModel(path: string) {
  const file = await modelFileOf(path);
  try {
    const model = readModel(await readFile(file));
    return { stages: forestModel(model), metadata: model.metadata };
  } catch (error) {
    const why = messageOf(error);
    throw new MaestroError('invalid_request', `${file} cannot be used: ${why}`);
  }
}
