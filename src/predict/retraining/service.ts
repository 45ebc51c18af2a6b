import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Stage, StageContext, StageOutcome } from '../../model/stage.js';
import { makeFolder } from '../../observe/make-folder.js';
import type { PredictionLog } from '../live/service.js';
import { METADATA_KEY } from '../onnx/model.js';
import { readModel } from '../onnx/read.js';
import type { CallWatcher, OnlinePredictor } from '../predictor.js';
import { forestModel } from '../stage-model.js';
import { DriftWatch } from './drift.js';
import { CallRecorder, type RecordedCall } from './recorded-calls.js';
import type { SuccessionEvent } from './succession.js';

/** Trains models apart from the thread that serves. */
export interface TrainingThread {
  /** Hands over calls to be kept for the next training. */
  add(calls: readonly RecordedCall[]): void;
  /** A model file of the last calls. Rejects where they teach nothing, or the thread has died. */
  train(): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface RetrainingOptions {
  readonly predictor: Pick<OnlinePredictor, 'watch' | 'challenge' | 'isOnTrial'>;
  readonly thread: TrainingThread;
  /** Completed calls from one training to the next. */
  readonly everyCalls: number;
  /** Where a promoted model is kept over a restart; undefined: nowhere. */
  readonly modelFile: string | undefined;
  readonly log: PredictionLog;
}

/** A drift is answered when so large a part of the calls between two trainings has passed, so that a model has what came new to learn from. */
const LEAST_PART = 0.25;

/** Calls that go to the thread in one message. */
const BATCH = 64;

const TOLD: Readonly<Record<SuccessionEvent, string>> = {
  promoted: 'a model trained on the last calls errs less than the one that served, and serves from now on',
  dismissed: 'a model trained on the last calls was not clearly better, and is dropped',
  confirmed: 'the retrained model has proved itself',
  rolled_back: 'the retrained model turned out worse; the one before serves again',
};

/** Trains on the fleet's own calls every so many of them, or sooner where predictions err more than they used to, and lets the new model compete with the one that serves. */
export class RetrainingService implements CallWatcher {
  private readonly recorder = new CallRecorder();
  private batch: RecordedCall[] = [];
  private readonly drift = new DriftWatch();
  private hasDrifted = false;
  private sinceTraining = 0;
  private isTraining = false;
  private saving = Promise.resolve();

  constructor(private readonly options: RetrainingOptions) {
    options.predictor.watch(this);
  }

  begin(stage: Stage, context: StageContext): void {
    this.recorder.begin(stage, context);
  }

  end(stage: Stage, outcome: StageOutcome, saidTokens: number | undefined): void {
    const call = this.recorder.end(stage, outcome);
    if (!call) return;
    this.batch.push(call);
    this.sinceTraining += 1;
    if (saidTokens !== undefined && this.drift.observe(saidTokens, outcome.outputTokens!)) {
      this.hasDrifted = true;
      this.options.log.info({}, 'predictions err more than they used to; a model is trained on the last calls soon');
    }
    const { everyCalls } = this.options;
    const wanted = this.hasDrifted ? LEAST_PART * everyCalls : everyCalls;
    const isDue = this.sinceTraining >= wanted && !this.isTraining && !this.options.predictor.isOnTrial;
    if (this.batch.length < BATCH && !isDue) return;
    this.options.thread.add(this.batch);
    this.batch = [];
    if (isDue) void this.retrain();
  }

  async close(): Promise<void> {
    await this.options.thread.close();
    await this.saving;
  }

  private async retrain(): Promise<void> {
    const { thread, predictor, log } = this.options;
    this.sinceTraining = 0;
    this.hasDrifted = false;
    this.isTraining = true;
    try {
      const file = await thread.train();
      const model = readModel(file);
      const version = model.metadata.get(METADATA_KEY.version);
      log.info({ version }, 'a model trained on the last calls competes with the one that serves');
      predictor.challenge(forestModel(model), (event) => {
        log.info({ version, event }, TOLD[event]);
        this.keep(event, file);
      });
    } catch (error) {
      log.warn({ err: error }, 'no model could be trained on the last calls; the one that serves goes on');
    } finally {
      this.isTraining = false;
    }
  }

  private keep(event: SuccessionEvent, file: Uint8Array): void {
    const { modelFile, log } = this.options;
    if (modelFile === undefined || (event !== 'promoted' && event !== 'rolled_back')) return;
    this.saving = this.saving
      .then(() => (event === 'promoted' ? promote(modelFile, file) : rollBack(modelFile)))
      .catch((error: unknown) =>
        log.warn({ err: error, modelFile }, 'which model serves cannot be kept over a restart'),
      );
  }
}

async function promote(modelFile: string, file: Uint8Array): Promise<void> {
  makeFolder(dirname(modelFile));
  await writeFile(`${modelFile}.new`, file);
  await rm(beforeOf(modelFile), { force: true });
  await rename(modelFile, beforeOf(modelFile)).catch(ignoreAbsent);
  await rename(`${modelFile}.new`, modelFile);
}

async function rollBack(modelFile: string): Promise<void> {
  await rm(modelFile, { force: true });
  await rename(beforeOf(modelFile), modelFile).catch(ignoreAbsent);
}

function beforeOf(modelFile: string): string {
  return `${modelFile}.before`;
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
