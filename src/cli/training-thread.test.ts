import { afterEach, describe, expect, it } from 'vitest';
import { traceCalls } from '../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { readModel } from '../predict/onnx/read.js';
import { CallRecorder } from '../predict/retraining/recorded-calls.js';
import type { TrainingThread } from '../predict/retraining/service.js';
import { forestModel } from '../predict/stage-model.js';
import { startTrainingThread } from './training-thread.js';

let thread: TrainingThread;
afterEach(() => thread.close());

describe('the training thread', () => {
  it('trains a model that fits on the calls that it was given', async () => {
    thread = startTrainingThread();
    await expect(thread.train()).rejects.toThrow('no call of the traces has a known length');
    const recorder = new CallRecorder();
    const { calls } = traceCalls(predictionTrace(80));
    thread.add(
      calls.flatMap(({ stage, context, outcome }) => {
        recorder.begin(stage, context);
        return recorder.end(stage, outcome) ?? [];
      }),
    );
    const model = readModel(await thread.train());
    expect(model.metadata.get('maestro.version')).toMatch(/^[0-9a-f]{12}$/);
    expect(() => forestModel(model)).not.toThrow();
  }, 60_000);

  it('says so when it has ended', async () => {
    thread = startTrainingThread();
    const training = thread.train();
    await thread.close();
    await expect(training).rejects.toThrow();
  });
});
