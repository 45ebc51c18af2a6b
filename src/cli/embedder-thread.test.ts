import { rmSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { embedderFolder } from '../../test/embedder-fixture.js';
import { loadEmbedder } from '../predict/embedder/service.js';
import { probeOnnxRuntime } from '../predict/runtime/service.js';
import type { TextVectorSource } from '../predict/text-vectors/service.js';
import { startEmbedderThread } from './embedder-thread.js';

const folder = embedderFolder();
let thread: TextVectorSource;
afterEach(() => thread.close());
const { available } = await probeOnnxRuntime();

describe.skipIf(!available)('the thread of the embedder', () => {
  it('answers as the embedder does, in the order of what it is asked', async () => {
    thread = startEmbedderThread(folder);
    // The first takes several runs of the model.
    const asked = [Array.from({ length: 40 }, (_, text) => 'long '.repeat(text + 1)), ['answer']];
    const answers = await Promise.all(asked.map((texts) => thread.embed(texts)));
    const embedder = await loadEmbedder(folder);
    expect(answers).toEqual(await Promise.all(asked.map((texts) => embedder.embed(texts))));
  }, 60_000);

  it('says what is wrong with its folder, and that it has ended', async () => {
    const empty = embedderFolder();
    rmSync(empty, { recursive: true });
    thread = startEmbedderThread(empty);
    await expect(thread.embed(['long'])).rejects.toThrow('neither model.onnx');
    const asking = expect(thread.embed(['long'])).rejects.toThrow();
    await thread.close();
    await asking;
    await expect(thread.embed(['long'])).rejects.toThrow('has ended');
  }, 60_000);
});
