import { parentPort, workerData } from 'node:worker_threads';
import { type Embedder, loadEmbedder } from '../predict/embedder/service.js';
import type { EmbedderAnswer } from './embedder-thread.js';

const embedder = loadEmbedder(workerData as string);
// Whoever asks first is told; until then nobody may be there to hear it.
embedder.catch(() => undefined);

parentPort!.on('message', (texts: readonly string[]) => {
  void embedder
    .then((ready: Embedder) => ready.embed(texts))
    .then(
      (vectors): EmbedderAnswer => ({ vectors }),
      (error: unknown): EmbedderAnswer => ({ error: error instanceof Error ? error.message : String(error) }),
    )
    .then((answer) => parentPort!.postMessage(answer));
});
