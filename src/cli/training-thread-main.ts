import { parentPort } from 'node:worker_threads';
import { versionedModelFile } from '../predict/directory/service.js';
import { CallWindow } from '../predict/retraining/recorded-calls.js';
import { DEFAULT_TRAINING, trainModel } from '../predict/training/train-model.js';
import type { TrainingAnswer, TrainingRequest } from './training-thread.js';

/** Calls that models are trained on: some days of a small fleet, minutes of a large one, and seconds of training. */
const WINDOW_CALLS = 20_000;
/** The size of the model that ships, whose predictions cost a tenth of what the largest would. */
const OPTIONS = { ...DEFAULT_TRAINING, split: 'workflow', trees: 50, leaves: 15, learningRate: 0.1 } as const;

const window = new CallWindow(WINDOW_CALLS);

parentPort!.on('message', (request: TrainingRequest) => {
  if (request.kind === 'train') parentPort!.postMessage(train());
  else for (const call of request.calls) window.add(call);
});

function train(): TrainingAnswer {
  try {
    return { file: versionedModelFile(trainModel(window.history(), OPTIONS).model).file };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
