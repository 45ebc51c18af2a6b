import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../model/error.js';
import { loadEmbedder } from '../predict/embedder/service.js';
import type { EmbedderAnswer } from './embedder-thread.js';

const embedder = loadEmbedder(workerData as string);
// Whoever asks first is told; until then nobody may be there to hear it.
embedder.catch(() => undefined);

/** Answers go out in the order of what was asked, by which they are told apart. */
let answered = Promise.resolve();
parentPort!.on('message', (texts: readonly string[]) => {
  answered = answered.then(async () => parentPort!.postMessage(await answer(texts)));
});

async function answer(texts: readonly string[]): Promise<EmbedderAnswer> {
  try {
    return { vectors: await (await embedder).embed(texts) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}
