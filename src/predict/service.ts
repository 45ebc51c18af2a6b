import { readFile, stat } from 'node:fs/promises';
import { messageOf } from '../model/error.js';
import {
  allFinite,
  answeredOutputs,
  checkParity,
  correctionsOf,
  type ModelRequirements,
  probeRows,
  requiredEnsembles,
} from './onnx/check-model.js';
import type { TreeModel } from './onnx/model.js';
import { readModel } from './onnx/read.js';
import { type OnnxSession, probeOnnxRuntime, type RuntimeProbe } from './runtime/service.js';
import { type Corrections, Forest } from './trees/forest.js';

export type ModelBackend = 'typescript' | 'onnxruntime';

/**
 * - `serving`: predictions come from `backend`; `note` says why that one, where it is not the one asked for.
 * - `refused`: the file was not taken at load. It never predicts.
 * - `out_of_service`: it served, and then was closed or misbehaved. It predicts no more.
 *
 * There is no way back: a better file is loaded as another `ModelService`.
 */
export type ModelState =
  | { readonly kind: 'serving'; readonly backend: ModelBackend; readonly note?: string }
  | { readonly kind: 'refused' | 'out_of_service'; readonly reason: string };

export interface ModelServiceOptions extends ModelRequirements {
  readonly path: string;
  /** `auto`: whichever is faster for one row on this machine, measured at load. */
  readonly backend?: ModelBackend | 'auto' | undefined;
  readonly maxFileBytes?: number | undefined;
  /** A model whose rows take longer than this in TypeScript is slow. */
  readonly maxRowMs?: number | undefined;
  /** The same for a run of ONNX Runtime, which includes the wait for its turn of the event loop. */
  readonly maxRunMs?: number | undefined;
  /** Rows that one run of ONNX Runtime takes at most. */
  readonly maxBatch?: number | undefined;
  /** Stands in for the native module in tests. */
  readonly probe?: (() => Promise<RuntimeProbe>) | undefined;
  /** Told once, when a model that served is taken out of service. */
  readonly onOutOfService?: ((reason: string) => void) | undefined;
  /** A monotonic clock in wall time. */
  readonly nowMs?: (() => number) | undefined;
}

const DEFAULT_MAX_FILE_BYTES = 32 * 1024 * 1024;

/** Twenty times what the largest model of the goals takes (0.1 ms), and still below what a request would notice. */
const DEFAULT_MAX_ROW_MS = 2;
const DEFAULT_MAX_RUN_MS = 100;
const DEFAULT_MAX_BATCH = 64;

/** Faults in a row (slow, or not a number) after which a model goes: a machine out of breath is slow now and then. */
const MAX_FAULTS = 5;

/** Rounds over the probe rows before times count, so that the evaluator is compiled as it will be in service. */
const WARM_UP_ROUNDS = 20;

interface Waiting {
  readonly row: Float64Array;
  readonly resolve: (predicted: Float64Array | undefined) => void;
}

/** A model that passed all checks. */
interface Loaded {
  readonly model: TreeModel;
  /** Names of what the forest answers: the outputs asked for, then what corrects them. */
  readonly outputs: readonly string[];
  /** How many are asked for. */
  readonly answered: number;
  readonly corrections: ReadonlyMap<string, Corrections>;
  readonly forest: Forest;
  readonly session: OnnxSession | undefined;
  readonly state: ModelState;
}

/**
 * A model file in service: predictions by ONNX Runtime or by the evaluator in TypeScript, which agree to 1e-5. A file that is not right is refused,
 * one that turns out bad is taken out of service; in both cases predictions are `undefined` and the caller's fallback serves.
 */
export class ModelService {
  private current: ModelState;
  private session: OnnxSession | undefined;
  private waiting: Waiting[] = [];
  private isRunning = false;
  private faultsInARow = 0;

  private constructor(
    private readonly options: ModelServiceOptions,
    private readonly loaded: Loaded | undefined,
    state: ModelState,
  ) {
    this.current = state;
    this.session = loaded?.session;
  }

  /** Never rejects: what is wrong with a file is told by `state`. */
  static async load(options: ModelServiceOptions): Promise<ModelService> {
    try {
      const loaded = await loadChecked(options);
      return new ModelService(options, loaded, loaded.state);
    } catch (error) {
      return new ModelService(options, undefined, { kind: 'refused', reason: `${options.path}: ${messageOf(error)}` });
    }
  }

  get state(): ModelState {
    return this.current;
  }

  /** What the file holds; undefined when it was refused. */
  get model(): TreeModel | undefined {
    return this.loaded?.model;
  }

  /**
   * The outputs for one row, in the order asked for and without corrections; undefined where the model does not serve. In ONNX Runtime, rows that come while a
   * run is under way go into the next one together.
   */
  predict(row: Float64Array): Promise<Float64Array | undefined> {
    if (this.current.kind !== 'serving' || !this.session) return Promise.resolve(this.predictNow(row));
    return new Promise((resolve) => {
      this.waiting.push({ row, resolve });
      if (!this.isRunning) void this.runWaiting(this.session!);
    });
  }

  /** {@link predict} at once, in TypeScript: all outputs, or those from `first` on, corrected for the template that is named. */
  predictNow(row: Float64Array, first = 0, template?: string): Float64Array | undefined {
    if (this.current.kind !== 'serving' || !this.loaded) return undefined;
    const { forest, answered, corrections } = this.loaded;
    const predicted = new Float64Array(answered);
    const startedMs = nowOf(this.options);
    const own = template === undefined ? undefined : corrections.get(template);
    forest.predict(row, 0, predicted, first, answered, own);
    const elapsedMs = nowOf(this.options) - startedMs;
    this.judge(elapsedMs, this.options.maxRowMs ?? DEFAULT_MAX_ROW_MS, [predicted]);
    return allFinite(predicted) ? predicted : undefined;
  }

  /** Ends the session. Predictions under way come out as `undefined` or as they are. */
  async close(): Promise<void> {
    this.retire('closed');
    await this.session?.release();
    this.session = undefined;
  }

  private async runWaiting(session: OnnxSession): Promise<void> {
    this.isRunning = true;
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, this.options.maxBatch ?? DEFAULT_MAX_BATCH);
      const predicted = await this.runBatch(session, batch);
      batch.forEach(({ resolve }, index) => {
        const own = predicted?.[index];
        resolve(own && allFinite(own) ? own : undefined);
      });
    }
    this.isRunning = false;
  }

  private async runBatch(session: OnnxSession, batch: readonly Waiting[]): Promise<Float64Array[] | undefined> {
    if (this.current.kind !== 'serving') return undefined;
    const rows = batch.map(({ row }) => row);
    const startedMs = nowOf(this.options);
    try {
      const { outputs, answered } = this.loaded!;
      const predicted = await runRows(session, outputs.slice(0, answered), rows);
      const elapsedMs = nowOf(this.options) - startedMs;
      this.judge(elapsedMs, this.options.maxRunMs ?? DEFAULT_MAX_RUN_MS, predicted);
      return predicted;
    } catch (error) {
      this.retire(`ONNX Runtime failed: ${messageOf(error)}`);
      return undefined;
    }
  }

  private judge(elapsedMs: number, limitMs: number, predicted: readonly Float64Array[]): void {
    const isGood = predicted.every(allFinite);
    if (isGood && elapsedMs <= limitMs) {
      this.faultsInARow = 0;
      return;
    }
    this.faultsInARow++;
    if (this.faultsInARow < MAX_FAULTS) return;
    this.retire(`${MAX_FAULTS} predictions in a row ${isGood ? `took longer than ${limitMs} ms` : 'were not finite'}`);
  }

  private retire(why: string): void {
    if (this.current.kind !== 'serving') return;
    const reason = `${this.options.path}: ${why}`;
    this.current = { kind: 'out_of_service', reason };
    this.options.onOutOfService?.(reason);
  }
}

async function loadChecked(options: ModelServiceOptions): Promise<Loaded> {
  const maxBytes = options.maxFileBytes ?? DEFAULT_MAX_FILE_BYTES;
  const { size } = await stat(options.path);
  if (size > maxBytes) throw new Error(`it has ${size} bytes, more than the ${maxBytes} allowed`);
  const file = await readFile(options.path);
  const model = readModel(file);
  const ensembles = requiredEnsembles(model, options);
  const asked = answeredOutputs(model, options);
  const corrections = correctionsOf(model, options);
  const outputs = [...asked, ...corrections.names];
  const forest = new Forest(ensembles);
  const rows = probeRows(ensembles);
  const own = rows.map(() => new Float64Array(ensembles.length));
  const ownMs = timeForest(forest, rows, own, options);
  if (!own.every(allFinite)) throw new Error('it predicts numbers that are not finite');
  const serve = (session: OnnxSession | undefined, state: ModelState): Loaded => ({
    ...{ model, outputs, answered: asked.length, corrections: corrections.byTemplate, forest, session, state },
  });

  const wanted = options.backend ?? 'auto';
  if (wanted === 'typescript') return serve(undefined, { kind: 'serving', backend: 'typescript' });
  const probe = await (options.probe ?? probeOnnxRuntime)();
  if (!probe.available) return serve(undefined, { kind: 'serving', backend: 'typescript', note: probe.reason });
  const session = await probe.runtime.open(file, outputs);
  try {
    checkParity(outputs, own, await runRows(session, outputs, rows));
    if (wanted === 'onnxruntime' || (await timeSession(session, outputs, rows, options)) < ownMs) {
      return serve(session, { kind: 'serving', backend: 'onnxruntime' });
    }
  } catch (error) {
    await session.release();
    throw error;
  }
  await session.release();
  const note = 'faster for single rows than ONNX Runtime here, and equal to it';
  return serve(undefined, { kind: 'serving', backend: 'typescript', note });
}

/** The median time of a row, and the predictions. Throws as soon as it is clear that the model is too slow. */
function timeForest(
  forest: Forest,
  rows: readonly Float64Array[],
  into: readonly Float64Array[],
  options: ModelServiceOptions,
): number {
  const maxRowMs = options.maxRowMs ?? DEFAULT_MAX_ROW_MS;
  let medianMs = 0;
  for (let round = 0; round < WARM_UP_ROUNDS; round++) {
    const timesMs = rows.map((row, index) => {
      const startedMs = nowOf(options);
      forest.predict(row, 0, into[index]!);
      return nowOf(options) - startedMs;
    });
    medianMs = median(timesMs);
    // The first round runs uncompiled.
    if (round > 0 && medianMs > maxRowMs) {
      throw new Error(`it takes ${medianMs.toFixed(2)} ms a row, more than the ${maxRowMs} ms allowed`);
    }
  }
  return medianMs;
}

async function timeSession(
  session: OnnxSession,
  outputs: readonly string[],
  rows: readonly Float64Array[],
  options: ModelServiceOptions,
): Promise<number> {
  const timesMs: number[] = [];
  for (const row of rows) {
    const startedMs = nowOf(options);
    await runRows(session, outputs, [row]);
    timesMs.push(nowOf(options) - startedMs);
  }
  return median(timesMs);
}

async function runRows(
  session: OnnxSession,
  outputs: readonly string[],
  rows: readonly Float64Array[],
): Promise<Float64Array[]> {
  const width = rows[0]!.length;
  const table = new Float32Array(rows.length * width);
  rows.forEach((row, index) => {
    table.set(row, index * width);
  });
  const results = await session.run(table, rows.length);
  return rows.map((_, row) =>
    Float64Array.from(outputs, (name) => {
      const list = results.get(name);
      if (!list) return Number.NaN;
      // A classifier answers with a column for each class; the last is the one that is meant.
      return list[((row + 1) * list.length) / rows.length - 1] ?? Number.NaN;
    }),
  );
}

function nowOf(options: ModelServiceOptions): number {
  return options.nowMs?.() ?? performance.now();
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
