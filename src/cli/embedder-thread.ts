import type { TextVector } from '../model/text-vector.js';
import type { TextVectorSource } from '../predict/text-vectors/service.js';
import { threadOf } from './thread.js';

export type EmbedderAnswer = { readonly vectors: readonly TextVector[] } | { readonly error: string };

/** Of JavaScript; the model itself lies outside, and takes what its file takes. */
const MAX_MEMORY_MB = 512;

/** A sentence embedder on a thread of its own, because a run keeps its thread busy for milliseconds. What is wrong with its folder is told by the first texts. */
export function startEmbedderThread(folder: string): TextVectorSource {
  const worker = threadOf(import.meta.url, 'embedder-thread-main', { maxOldGenerationSizeMb: MAX_MEMORY_MB }, folder);
  // An idle thread must not keep the process alive.
  worker.unref();
  let death: Error | undefined;
  const asked: { resolve(vectors: readonly TextVector[]): void; reject(error: Error): void }[] = [];
  const die = (error: Error) => {
    death ??= error;
    for (const { reject } of asked.splice(0)) reject(death);
  };
  worker.on('error', die).on('exit', () => die(new Error('the thread of the embedder has ended')));
  worker.on('message', (answer: EmbedderAnswer) => {
    const first = asked.shift();
    if ('error' in answer) first?.reject(new Error(answer.error));
    else first?.resolve(answer.vectors);
  });
  return {
    embed: (texts) =>
      new Promise((resolve, reject) => {
        if (death) {
          reject(death);
          return;
        }
        asked.push({ resolve, reject });
        worker.postMessage(texts);
      }),
    close: async () => {
      await worker.terminate();
    },
  };
}
