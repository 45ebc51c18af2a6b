import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { traceCalls } from '../../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../../test/prediction-trace.js';
import { completed, FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import { versionedModelFile } from '../directory/service.js';
import { prepareLivePrediction } from '../live/service.js';
import { OnlinePredictor } from '../predictor.js';
import type { StageModel } from '../stage-model.js';
import { DEFAULT_TRAINING, trainModel } from '../training/train-model.js';
import { CallWindow } from './recorded-calls.js';
import { RetrainingService, type TrainingThread } from './service.js';
import type { SuccessionEvent } from './succession.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

const QUICK = { ...DEFAULT_TRAINING, split: 'workflow', trees: 10, leaves: 7, learningRate: 0.2 } as const;

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-retraining-'));
});
afterAll(() => rm(folder, { recursive: true }));

const told: string[] = [];
beforeEach(() => {
  told.length = 0;
});
const log = {
  info: (_: object, message: string) => told.push(message),
  warn: (_: object, message: string) => told.push(message),
};

/** Trains at once, where the calls are. */
function threadOf(window = new CallWindow(5000)): TrainingThread {
  return {
    add: (calls) => {
      for (const call of calls) window.add(call);
    },
    train: async () => versionedModelFile(trainModel(window.history(), QUICK).model).file,
    close: async () => undefined,
  };
}

const WRONG: StageModel = {
  rules: {
    boundLogOffset: 0,
    repeatLogTolerance: 0,
    toolIntent: false,
    lookupTemplates: [],
    lengthErrors: [],
    remainingTemplates: [],
  },
  evaluate: () => Float64Array.of(0, 8, 8, 9, 8),
};

function play(predictor: OnlinePredictor, tasks: number, seed: number): void {
  const { calls, events } = traceCalls(predictionTrace(tasks, 'essay', seed));
  for (const event of events) {
    if (event.kind === 'workflowEnded') continue;
    const { stage, context, outcome } = calls[event.call]!;
    if (event.kind === 'begin') predictor.predict(stage, context);
    else predictor.observe(stage, context, outcome);
  }
}

describe('RetrainingService', () => {
  it('trains on the calls of the fleet, promotes what is better, and keeps it over a restart', async () => {
    const predictor = new OnlinePredictor({ model: WRONG });
    const modelFile = join(folder, 'promoted', 'model.onnx');
    const service = new RetrainingService({ predictor, thread: threadOf(), everyCalls: 600, modelFile, log });
    play(predictor, 150, 1);
    await vi.waitFor(() => expect(told.join()).toContain('competes with'), SOON);
    expect(existsSync(modelFile)).toBe(false);
    play(predictor, 140, 2);
    expect(told.join()).toContain('serves from now on');
    await service.close();
    const live = await prepareLivePrediction({
      modelPath: undefined,
      stateFile: undefined,
      retrainedFile: modelFile,
      log,
    });
    expect(live.describe()).toMatch(/^model [0-9a-f]{12}$/);
  });

  it('goes on where no model could be trained', async () => {
    const predictor = new OnlinePredictor();
    const thread = { ...threadOf(), train: () => Promise.reject(new Error('out of memory')) };
    const service = new RetrainingService({ predictor, thread, everyCalls: 500, modelFile: undefined, log });
    play(predictor, 140, 1);
    await vi.waitFor(() => expect(told.join()).toContain('no model could be trained'), SOON);
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).outputTokens.q50).toBeGreaterThan(0);
    await service.close();
  });

  it('keeps the file of the model before until the new one has been rolled back', async () => {
    const modelFile = join(folder, 'rolled-back', 'model.onnx');
    let onEvent: ((event: SuccessionEvent) => void) | undefined;
    const challenge = (_: StageModel, tell: (event: SuccessionEvent) => void) => {
      onEvent = tell;
    };
    const window = new CallWindow(5000);
    const predictor = { watch: () => undefined, challenge, isOnTrial: false };
    const service = new RetrainingService({ predictor, thread: threadOf(window), everyCalls: 400, modelFile, log });
    const contents: (Buffer | undefined)[] = [];
    const tell = async (event: SuccessionEvent): Promise<void> => {
      onEvent?.call(undefined, event);
      await service.close();
      contents.push(await readFile(modelFile).catch(() => undefined));
    };
    const trainedAgain = async (seed: number) => {
      onEvent = undefined;
      for (const { stage, context, outcome } of traceCalls(predictionTrace(100, 'essay', seed)).calls) {
        service.begin(stage, context);
        service.end(stage, outcome, undefined);
      }
      await vi.waitFor(() => expect(onEvent).toBeDefined(), SOON);
    };
    await trainedAgain(1);
    await tell('promoted');
    await trainedAgain(2);
    await tell('promoted');
    await tell('rolled_back');
    await trainedAgain(3);
    await tell('dismissed');
    expect(contents[1]!.equals(contents[0]!)).toBe(false);
    expect(contents[2]!.equals(contents[0]!)).toBe(true);
    expect(contents[3]!.equals(contents[0]!)).toBe(true);
  });

  it('trains sooner where predictions begin to err more than they used to', async () => {
    const window = new CallWindow(5000);
    const service = new RetrainingService({
      ...{ predictor: new OnlinePredictor(), thread: threadOf(window), everyCalls: 2000, modelFile: undefined, log },
    });
    const { calls } = traceCalls(predictionTrace(400, 'essay', 1));
    const play = (from: number, to: number, factor: number) => {
      for (const { stage, context, outcome } of calls.slice(from, to)) {
        service.begin(stage, context);
        service.end(
          stage,
          outcome,
          outcome.outputTokens && outcome.outputTokens * factor * (stage.stageId.length % 2 ? 1.2 : 0.9),
        );
      }
    };
    play(0, 700, 1);
    expect(told).toEqual([]);
    play(700, 1000, 8);
    expect(told.join()).toContain('err more than they used to');
    await vi.waitFor(() => expect(told.join()).toContain('competes with'), SOON);
    await service.close();
  });

  it('leaves calls that failed aside', () => {
    const added: number[] = [];
    const thread = { ...threadOf(), add: (calls: readonly unknown[]) => added.push(calls.length) };
    const predictor = new OnlinePredictor();
    new RetrainingService({ predictor, thread, everyCalls: 500, modelFile: undefined, log });
    for (let call = 0; call < 128; call++) {
      const stage = makeStage({ stageId: `s${call}` });
      predictor.predict(stage, FIRST_CONTEXT);
      const outcome = completed(10);
      predictor.observe(stage, FIRST_CONTEXT, call % 2 === 0 ? outcome : { ...outcome, kind: 'engine_failed' });
    }
    expect(added).toEqual([64]);
  });
});
