import { createHash } from 'node:crypto';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MaestroError, systemCodeOf } from '../../model/error.js';
import { TEXT_VECTOR_SIZE } from '../../model/text-vector.js';
import type { PooledBoundState } from '../../node/pooled-bound.js';
import { makeFolder } from '../../observe/make-folder.js';
import { FEATURE_SCHEMA_HASH } from '../features.js';
import { METADATA_KEY, type TreeModel } from '../onnx/model.js';
import { writeModel } from '../onnx/write.js';
import type { PredictorState } from '../predictor-state.js';
import type { StaticMedians } from '../training/medians.js';
import type { TrainedModel } from '../training/train-model.js';

/** Files of a model directory. `model.onnx` alone can serve; the others are what it was made of, and where it goes on from. */
export const MODEL_FILES = {
  model: 'model.onnx',
  /** What it is and how good. */
  info: 'model.json',
  /** What the predictor had learned online when the training ended. */
  state: 'state.json',
  /** Medians of the training, which predictions are compared with. */
  medians: 'medians.json',
} as const;

const numbers = z.record(z.string(), z.number());
const mediansSchema = z.strictObject({
  ...{ global: z.number(), role: numbers, agent: numbers, layer: numbers, message: numbers },
});

const samples = z.array(z.tuple([z.string(), z.array(z.number())]));
const rates = z.array(z.tuple([z.string(), z.number(), z.number()]));
const calibration = z.strictObject({ pooled: z.tuple([z.number(), z.number()]), roles: rates });
const contest = z.array(z.tuple([z.string(), z.number(), z.array(z.number())]));
const shift = z.array(z.tuple([z.string(), z.number(), z.number(), z.number(), z.number()]));
const trust = z.tuple([z.string(), z.number(), z.number(), z.number(), z.number(), z.number(), z.number()]);
const weights = z.array(z.number()).length(TEXT_VECTOR_SIZE);
const text = z.strictObject({
  calls: z.number(),
  grams: z.array(z.tuple([z.number(), z.number(), z.number()])),
  vector: z.strictObject({ embedder: z.string(), weights, squares: weights }).optional(),
});
const kvRecord = z.tuple([z.number(), z.number(), z.number(), z.number(), z.number()]);
const nodeState = z.strictObject({
  ...{ margin: z.number(), all: kvRecord, kinds: z.array(z.tuple([z.string(), kvRecord])) },
});
const stateSchema = z.strictObject({
  nodes: z.record(z.string(), nodeState).optional(),
  lengths: z.strictObject({
    windows: samples,
    layers: samples.optional(),
    all: z.array(z.number()),
    repeats: z.array(
      z.tuple([
        z.string(),
        z.strictObject({
          ...{ logRatios: z.array(z.number()), repeatErrorTokens: z.number(), medianErrorTokens: z.number() },
        }),
      ]),
    ),
  }),
  tools: rates,
  remaining: samples,
  calibration,
  transitions: z.strictObject({
    states: z.array(z.tuple([z.string(), z.array(z.tuple([z.string(), z.number()]))])),
    models: z.array(z.tuple([z.string(), z.string()])),
  }),
  lengthTrust: z.array(trust).optional(),
  model: z
    .strictObject({
      statistics: z.strictObject({ windows: samples, finer: samples.optional(), text: text.optional(), tools: rates }),
      calibration: calibration.optional(),
      contest: contest.optional(),
      remaining: contest.optional(),
      lengthShift: shift.optional(),
      workShift: shift.optional(),
    })
    .optional(),
});

/** What a live fleet has learned: its predictor, and each of its nodes of the memory that calls need together. */
export interface SavedState extends PredictorState {
  readonly nodes?: Readonly<Record<string, PooledBoundState>> | undefined;
}

/** What is written beside a model for people and tools to read. */
export interface ModelInfo {
  readonly maestro_model: 1;
  readonly version: string;
  readonly featureSchemaHash: string;
  readonly training: unknown;
  readonly templates: unknown;
  readonly outputs: unknown;
  readonly calibration: unknown;
  /** Of calls that were kept back, by a model trained in the same way without them; absent where none were. */
  readonly metrics?: unknown;
}

/** Writes a model directory, each file whole or not at all. Equal models give equal bytes. */
export async function writeModelDirectory(
  directory: string,
  trained: TrainedModel,
  rest: {
    readonly training: object;
    readonly medians: StaticMedians;
    readonly state?: PredictorState | undefined;
    readonly metrics?: object | undefined;
  },
): Promise<ModelInfo> {
  const { version, file } = versionedModelFile(trained.model);
  const info: ModelInfo = {
    ...{ maestro_model: 1, version, featureSchemaHash: FEATURE_SCHEMA_HASH },
    training: { ...rest.training, lengthRows: trained.lengthRows, toolRows: trained.toolRows },
    templates: trained.choices,
    outputs: trained.outputs,
    calibration: trained.rules,
    ...(rest.metrics ? { metrics: rest.metrics } : {}),
  };
  makeFolder(directory);
  const write = async (name: string, content: string | Uint8Array) => {
    const path = join(directory, name);
    await writeFile(`${path}.new`, content);
    await rename(`${path}.new`, path);
  };
  await write(MODEL_FILES.info, `${JSON.stringify(info, null, 2)}\n`);
  await write(MODEL_FILES.medians, `${JSON.stringify(rest.medians)}\n`);
  if (rest.state) await write(MODEL_FILES.state, `${JSON.stringify(rest.state)}\n`);
  // Last, because it is what makes the directory a model.
  await write(MODEL_FILES.model, file);
  return info;
}

/** The model file that a path means: the path itself, or `model.onnx` in the folder. */
export async function modelFileOf(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() ? join(path, MODEL_FILES.model) : path;
}

/** The saved state beside a model; undefined where there is none. Throws {@link MaestroError} for one that is broken. */
export async function readState(directory: string): Promise<PredictorState | undefined> {
  return await readStateFile(join(directory, MODEL_FILES.state));
}

/** A saved state; undefined where there is no such file. Throws {@link MaestroError} for one that is broken. */
export async function readStateFile(path: string): Promise<SavedState | undefined> {
  return await readJson(path, stateSchema);
}

/** The medians of the training; undefined where there are none. */
export async function readMedians(directory: string): Promise<StaticMedians | undefined> {
  return await readJson(join(directory, MODEL_FILES.medians), mediansSchema);
}

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new MaestroError(
      'invalid_request',
      `${path} is broken: ${why.split('\n')[0]}. Remove it, or train the model again.`,
    );
  }
}

/** A model file that says which version it is. */
export function versionedModelFile(model: TreeModel): { readonly version: string; readonly file: Uint8Array } {
  const version = versionOf(writeModel(model));
  return {
    version,
    file: writeModel({ ...model, metadata: new Map(model.metadata).set(METADATA_KEY.version, version) }),
  };
}

/** Twelve digits of the content: equal models have equal versions. */
function versionOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 12);
}
