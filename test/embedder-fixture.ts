import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProtoWriter } from '../src/predict/onnx/protobuf.js';

/** Words of the made-up embedder; their places are their token ids. */
export const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'long', 'story', 'short', 'answer', '##s'];
/** Numbers of an embedding: a token is the unit vector of its id. */
export const EMBEDDING_SIZE = WORDS.length;

const INT64 = 7;
const FLOAT = 1;

/**
 * A folder with a sentence embedder in the layout of sentence-transformers: a WordPiece tokenizer of nine words, and an ONNX model that looks each token up in a table.
 *
 * @param scale Of the table; not a number makes a model that answers none.
 */
export function embedderFolder(options: { readonly scale?: number; readonly output?: string } = {}): string {
  const { scale = 1, output = 'last_hidden_state' } = options;
  const folder = mkdtempSync(join(tmpdir(), 'maestro-embedder-'));
  writeFileSync(join(folder, 'model.onnx'), model(scale, output));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(TOKENIZER));
  return folder;
}

function model(scale: number, output: string): Uint8Array {
  const size = EMBEDDING_SIZE;
  const values = Float32Array.from({ length: size * size }, (_, at) =>
    Math.floor(at / size) === at % size ? scale : 0,
  );
  const table = new ProtoWriter()
    .packedIntegers(1, [size, size])
    .integer(2, FLOAT)
    .packedFloats(4, values)
    .text(8, 'table');
  const gather = new ProtoWriter().text(1, 'table').text(1, 'input_ids').text(2, output).text(4, 'Gather');
  const graph = new ProtoWriter()
    .message(1, gather)
    .text(2, 'embedder')
    .message(5, table)
    .message(11, valueInfo('input_ids', INT64, ['batch', 'tokens']))
    .message(11, valueInfo('attention_mask', INT64, ['batch', 'tokens']))
    .message(12, valueInfo(output, FLOAT, ['batch', 'tokens', size]));
  return new ProtoWriter().integer(1, 8).message(7, graph).message(8, new ProtoWriter().integer(2, 13)).finish();
}

function valueInfo(name: string, type: number, shape: readonly (string | number)[]): ProtoWriter {
  const dimensions = new ProtoWriter();
  for (const size of shape) {
    const dimension = new ProtoWriter();
    dimensions.message(1, typeof size === 'string' ? dimension.text(2, size) : dimension.integer(1, size));
  }
  const tensor = new ProtoWriter().integer(1, type).message(2, dimensions);
  return new ProtoWriter().text(1, name).message(2, new ProtoWriter().message(1, tensor));
}

const special = (id: number) => ({ id, content: WORDS[id], special: true });
const TOKENIZER = {
  version: '1.0',
  added_tokens: [0, 1, 2, 3].map((id) => ({
    ...special(id),
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
};
