import { existsSync, statSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../../model/clock.js';
import { messageOf } from '../../model/error.js';
import { MINUTE_MS } from '../../model/units.js';
import { makeFolder, prepareFile } from '../../observe/make-folder.js';
import { modelFileOf, readState, readStateFile, type SavedState } from '../directory/service.js';
import { rememberRows } from '../last-rows.js';
import { METADATA_KEY } from '../onnx/model.js';
import { ModelService } from '../service.js';
import { type ServingRules, servingRules } from '../serving-rules.js';
import { STAGE_MODEL_REQUIREMENTS, type StageModel } from '../stage-model.js';

/** What is needed of a logger. */
export interface PredictionLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export interface LivePredictionOptions {
  /** Model directory or ONNX file; undefined: predictions are learned online alone. */
  readonly modelPath: string | undefined;
  /** Where what was learned is kept over a restart. */
  readonly stateFile: string | undefined;
  /** A model that was trained on this fleet's own calls, and comes first where it is there and right. */
  readonly retrainedFile?: string | undefined;
  readonly log: PredictionLog;
  /** A monotonic clock in wall time, by which slow models are told; absent: the process's own. */
  readonly nowMs?: (() => number) | undefined;
}

/** What a live predictor begins with. */
export interface LivePrediction {
  readonly model: StageModel | undefined;
  readonly state: SavedState | undefined;
  /** Which model predicts, for people: a version, or why none does. */
  describe(): string;
}

/**
 * Makes a model and the saved state ready. Never rejects: a model that is refused now, or taken out of service later, is told to the log, and what is
 * learned online predicts.
 *
 * A single row costs less in TypeScript than the way to ONNX Runtime and back, so that the native module is not loaded for it.
 */
export async function prepareLivePrediction(options: LivePredictionOptions): Promise<LivePrediction> {
  const { modelPath, stateFile, log, nowMs } = options;
  const retrained = await loadRetrained(options);
  const loaded = retrained ?? (modelPath === undefined ? undefined : await loadModel(modelPath, log, nowMs));
  let state: SavedState | undefined;
  try {
    state = stateFile === undefined ? undefined : await readOwnState(stateFile, log);
    if (!state && modelPath !== undefined && loaded?.model) state = await readState(modelPath);
  } catch (error) {
    log.warn({ err: error }, 'the saved state of the predictor is not used; it begins anew');
  }
  return { model: loaded?.model, state, describe: () => loaded?.describe() ?? 'no model: learned online' };
}

/** What an earlier run has saved. A file that is refused is kept beside its name, where it would be overwritten: weeks of learning may be in it, and another version may read it. */
async function readOwnState(stateFile: string, log: PredictionLog): Promise<SavedState | undefined> {
  try {
    return await readStateFile(stateFile);
  } catch (error) {
    const kept = `${stateFile}.refused`;
    // The name of a folder was not meant: what lies in it is somebody else's.
    const moved =
      statSync(stateFile, { throwIfNoEntry: false })?.isFile() === true &&
      (await rename(stateFile, kept).then(
        () => true,
        () => false,
      ));
    log.warn(
      { err: error, ...(moved ? { kept } : {}) },
      'the saved state of the predictor is not used; it begins anew',
    );
    return undefined;
  }
}

async function loadRetrained({ retrainedFile, log, nowMs }: LivePredictionOptions): Promise<LoadedModel | undefined> {
  if (retrainedFile === undefined || !existsSync(retrainedFile)) return undefined;
  const loaded = await loadModel(retrainedFile, log, nowMs);
  return loaded.model && loaded;
}

interface LoadedModel {
  readonly model: StageModel | undefined;
  describe(): string;
}

async function loadModel(path: string, log: PredictionLog, nowMs: (() => number) | undefined): Promise<LoadedModel> {
  const refused = (reason: string) => {
    log.warn({ reason }, 'the prediction model is refused; what is learned online predicts');
    return { model: undefined, describe: () => `refused: ${reason}` };
  };
  const file = await modelFileOf(path);
  const service = await ModelService.load({
    ...STAGE_MODEL_REQUIREMENTS,
    path: file,
    backend: 'typescript',
    nowMs,
    onOutOfService: (reason) =>
      log.warn({ reason }, 'the prediction model is out of service; what is learned online predicts'),
  });
  if (service.state.kind !== 'serving') return refused(service.state.reason);
  let rules: ServingRules;
  try {
    rules = servingRules(service.model!.metadata);
  } catch (error) {
    return refused(`${file}: ${messageOf(error)}`);
  }
  const version = service.model!.metadata.get(METADATA_KEY.version) ?? 'without version';
  log.info({ file, version }, 'a trained model predicts output lengths');
  const evaluate = rememberRows((row, first, template) => service.predictNow(row, first, template));
  return {
    model: {
      rules,
      evaluate: (row, first, template) =>
        service.state.kind === 'serving' ? evaluate(row, first, template) : undefined,
    },
    describe: () =>
      service.state.kind === 'serving' ? `model ${version}` : `${service.state.kind}: ${service.state.reason}`,
  };
}

/** At most so much of what was learned is lost in a crash. */
const SAVE_INTERVAL_MS = 5 * MINUTE_MS;
const CANNOT_SAVE = 'what has been learned cannot be saved';

/**
 * Keeps what a fleet learns in a file: every five minutes, and when it is closed. A file that cannot be written is told to the log, at the start too; serving goes on.
 *
 * @param clock In wall time.
 */
export function keepLearned(
  learned: { state(): SavedState },
  stateFile: string,
  clock: Clock,
  log: PredictionLog,
): { close(): Promise<void> } {
  let timer: Timer | undefined;
  let saving = Promise.resolve();
  const save = () => {
    saving = saving
      .then(() => writeState(learned.state(), stateFile))
      .catch((error: unknown) => log.warn({ err: error, stateFile }, CANNOT_SAVE));
    return saving;
  };
  const arm = () => {
    timer = clock.after(SAVE_INTERVAL_MS, () => {
      void save();
      arm();
    });
  };
  try {
    prepareFile(stateFile);
  } catch (error) {
    log.warn({ err: error, stateFile }, CANNOT_SAVE);
  }
  arm();
  return {
    close() {
      timer?.cancel();
      return save();
    },
  };
}

async function writeState(state: SavedState, stateFile: string): Promise<void> {
  makeFolder(dirname(stateFile));
  await writeFile(`${stateFile}.new`, JSON.stringify(state));
  await rename(`${stateFile}.new`, stateFile);
}
