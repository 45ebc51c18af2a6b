import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextVector } from '../../model/text-vector.js';
import { embeddingReducer, meanPooled, REDUCTION_SEED } from './reduce.js';

/** A sentence embedder that is ready. */
export interface Embedder {
  /** Twelve digits of its files: equal embedders have equal names. */
  readonly name: string;
  /** Vectors of texts, in their order. Rejects where the model cannot run. */
  embed(texts: readonly string[]): Promise<TextVector[]>;
  close(): Promise<void>;
}

/** The parts of `@huggingface/tokenizers` and `onnxruntime-node` that are used. Declared here, because both are optional. */
interface TokenizerModule {
  readonly Tokenizer: new (tokenizer: object, config: object) => { encode(text: string): { readonly ids: number[] } };
}
interface OnnxModule {
  readonly InferenceSession: { create(file: Uint8Array, options: object): Promise<OnnxSession> };
  readonly Tensor: new (type: 'int64', data: BigInt64Array, shape: readonly number[]) => object;
}
interface OnnxSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(inputs: object, outputs: readonly string[]): Promise<Readonly<Record<string, OnnxResult>>>;
  release(): Promise<void>;
}
interface OnnxResult {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

/** Variables, so that the compiler does not look for the modules. */
const TOKENIZERS: string = '@huggingface/tokenizers';
const ONNX: string = 'onnxruntime-node';

/** Tokens of a text that the model gets at most, half of them from its end; twice as many cost twice the time. */
const MAX_TOKENS = 128;
/** Texts of one run. */
const BATCH = 16;
/** The largest of the common small embedders has 470 MB. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;
/** What a model may be given; all else would be guessed. */
const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];
/** Of the outputs, the first that is there. */
const OUTPUTS = ['sentence_embedding', 'last_hidden_state', 'token_embeddings'];

/**
 * Loads a sentence embedder from a folder in the layout of the ONNX exports of sentence-transformers: `tokenizer.json` beside `model.onnx` or `onnx/model.onnx`. Rejects with
 * a message for people where something is missing or not as it should be.
 */
export async function loadEmbedder(folder: string): Promise<Embedder> {
  const modelPath = [join(folder, 'model.onnx'), join(folder, 'onnx', 'model.onnx')].find((path) => existsSync(path));
  if (modelPath === undefined) throw new Error(`${folder} has neither model.onnx nor onnx/model.onnx`);
  const { size } = await stat(modelPath);
  if (size > MAX_FILE_BYTES) throw new Error(`${modelPath} has ${size} bytes, more than the ${MAX_FILE_BYTES} allowed`);
  const [model, tokenizerText] = await Promise.all([readFile(modelPath), readText(folder, 'tokenizer.json')]);
  if (tokenizerText === undefined) throw new Error(`${folder} has no tokenizer.json`);
  const config = JSON.parse((await readText(folder, 'tokenizer_config.json')) ?? '{}') as object;
  const [{ Tokenizer }, { InferenceSession, Tensor }] = await Promise.all([
    optional<TokenizerModule>(TOKENIZERS),
    optional<OnnxModule>(ONNX),
  ]);
  const tokenizer = new Tokenizer(JSON.parse(tokenizerText) as object, config);
  const session = await InferenceSession.create(model, {
    ...{ intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential', logSeverityLevel: 3 },
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  });
  const strange = session.inputNames.filter((name) => !INPUTS.includes(name));
  if (strange.length > 0) throw new Error(`${modelPath} wants ${strange.join(', ')}; known: ${INPUTS.join(', ')}`);
  const output = OUTPUTS.find((each) => session.outputNames.includes(each));
  if (output === undefined) throw new Error(`${modelPath} answers none of ${OUTPUTS.join(', ')}`);
  const name = createHash('sha256').update(model).update(tokenizerText).update(`${REDUCTION_SEED}`);
  const id = name.digest('hex').slice(0, 12);
  let reduce: ReturnType<typeof embeddingReducer> | undefined;

  const runBatch = async (texts: readonly string[]): Promise<TextVector[]> => {
    const tokens = texts.map((text) => cut(tokenizer.encode(text).ids));
    const width = Math.max(...tokens.map(({ length }) => length));
    const mask = tokens.map(({ length }) => Array.from({ length: width }, (_, place) => Number(place < length)));
    const flat = { input_ids: tokens.map((ids) => padded(ids, width)), attention_mask: mask };
    const inputs = session.inputNames.map((input) => {
      const rows = input === 'token_type_ids' ? mask.map((row) => row.map(() => 0)) : flat[input as keyof typeof flat];
      return [input, new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [texts.length, width])];
    });
    const { data, dims } = (await session.run(Object.fromEntries(inputs), [output]))[output]!;
    const length = dims.at(-1)!;
    reduce ??= embeddingReducer(length);
    const embeddings =
      dims.length === 3
        ? meanPooled(data, mask, length)
        : texts.map((_, text) => Array.from({ length }, (__, place) => data[text * length + place]!));
    return embeddings.map((embedding) => {
      const values = reduce!(embedding);
      if (!values.every(Number.isFinite)) throw new Error('the embedder answers numbers that are not finite');
      return { embedder: id, values };
    });
  };

  return {
    name: id,
    async embed(texts) {
      const vectors: TextVector[] = [];
      for (let first = 0; first < texts.length; first += BATCH) {
        vectors.push(...(await runBatch(texts.slice(first, first + BATCH))));
      }
      return vectors;
    },
    close: () => session.release(),
  };
}

async function readText(folder: string, file: string): Promise<string | undefined> {
  return existsSync(join(folder, file)) ? await readFile(join(folder, file), 'utf8') : undefined;
}

async function optional<T>(name: string): Promise<T> {
  try {
    return (await import(name)) as T;
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new Error(`${name}, which an embedder needs, is not installed or does not load: ${why}`);
  }
}

/** The first and the last tokens; of what both ends mark (`[CLS]`, `[SEP]`) each is kept. */
function cut(ids: readonly number[]): readonly number[] {
  return ids.length <= MAX_TOKENS ? ids : [...ids.slice(0, MAX_TOKENS / 2), ...ids.slice(-MAX_TOKENS / 2)];
}

function padded(ids: readonly number[], width: number): number[] {
  return Array.from({ length: width }, (_, place) => ids[place] ?? 0);
}
