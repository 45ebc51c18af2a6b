import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { EMBEDDING_SIZE, embedderFolder, WORDS } from '../../../test/embedder-fixture.js';
import { TEXT_VECTOR_SIZE } from '../../model/text-vector.js';
import { probeOnnxRuntime } from '../runtime/service.js';
import { embeddingReducer } from './reduce.js';
import { loadEmbedder } from './service.js';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function folderOf(options?: Parameters<typeof embedderFolder>[0]): string {
  const folder = embedderFolder(options);
  folders.push(folder);
  return folder;
}

/** Mean of the unit vectors of tokens, reduced. */
function vectorOf(...tokens: string[]): number[] {
  const embedding = new Array<number>(EMBEDDING_SIZE).fill(0);
  for (const token of tokens) embedding[WORDS.indexOf(token)]! += 1 / tokens.length;
  return embeddingReducer(EMBEDDING_SIZE)(embedding);
}

const { available } = await probeOnnxRuntime();

describe.skipIf(!available)('an embedder', () => {
  it('splits words, and means over the tokens of each text without its padding', async () => {
    const embedder = await loadEmbedder(folderOf());
    const vectors = await embedder.embed(['Long storys', 'a short, SHORT answer']);
    expect(vectors.map(({ values }) => values)).toEqual([
      vectorOf('[CLS]', 'long', 'story', '##s', '[SEP]'),
      vectorOf('[CLS]', '[UNK]', 'short', '[UNK]', 'short', 'answer', '[SEP]'),
    ]);
    expect(vectors[0]!.embedder).toBe(embedder.name);
    expect(await embedder.embed(['Long storys'])).toEqual([vectors[0]]);
    await embedder.close();
  });

  it('takes the beginning and the end of a long text', async () => {
    const embedder = await loadEmbedder(folderOf());
    const [vector] = await embedder.embed([`${'long '.repeat(200)}${'story '.repeat(300)}${'answer '.repeat(200)}`]);
    const half = (word: string) => new Array<string>(63).fill(word);
    expect(vector!.values).toEqual(vectorOf('[CLS]', ...half('long'), ...half('answer'), '[SEP]'));
    await embedder.close();
  });

  it('has the name of its files', async () => {
    const [one, same, other] = await Promise.all([{}, {}, { scale: 2 }].map((each) => loadEmbedder(folderOf(each))));
    expect(one!.name).toBe(same!.name);
    expect(one!.name).not.toBe(other!.name);
  });

  it('says what is missing or strange', async () => {
    const folder = folderOf();
    rmSync(join(folder, 'tokenizer.json'));
    await expect(loadEmbedder(folder)).rejects.toThrow(/has no tokenizer\.json/);
    rmSync(join(folder, 'model.onnx'));
    await expect(loadEmbedder(folder)).rejects.toThrow(/neither model\.onnx nor onnx\/model\.onnx/);
    await expect(loadEmbedder(folderOf({ output: 'logits' }))).rejects.toThrow(/answers none of sentence_embedding/);
    const broken = folderOf();
    writeFileSync(join(broken, 'model.onnx'), 'no model');
    await expect(loadEmbedder(broken)).rejects.toThrow();
  });

  it('refuses to answer with what is no number', async () => {
    const embedder = await loadEmbedder(folderOf({ scale: Number.NaN }));
    await expect(embedder.embed(['long'])).rejects.toThrow(/not finite/);
  });
});

describe('the reduction', () => {
  it('keeps lengths and angles within the noise of its size', () => {
    const reduce = embeddingReducer(384);
    const wave = (shift: number) => reduce(Float64Array.from({ length: 384 }, (_, at) => Math.sin(at + shift)));
    const dot = (a: number[], b: number[]) => a.reduce((sum, value, at) => sum + value * b[at]!, 0);
    expect(wave(0)).toHaveLength(TEXT_VECTOR_SIZE);
    expect(dot(wave(0), wave(0))).toBeCloseTo(1, 0);
    expect(dot(wave(0), wave(0.2))).toBeGreaterThan(0.7);
    expect(Math.abs(dot(wave(0), wave(Math.PI / 2)))).toBeLessThan(0.4);
  });
});
