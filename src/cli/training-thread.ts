import type { RecordedCall } from '../predict/retraining/recorded-calls.js';
import type { TrainingThread } from '../predict/retraining/service.js';
import { threadOf } from './thread.js';

export type TrainingRequest =
  | { readonly kind: 'add'; readonly calls: readonly RecordedCall[] }
  | { readonly kind: 'train' };
export type TrainingAnswer = { readonly file: Uint8Array } | { readonly error: string };

/** What training may use; more ends the thread, not the server. */
const MAX_MEMORY_MB = 1024;

/** The thread on which models are trained on the fleet's own calls. */
export function startTrainingThread(): TrainingThread {
  const worker = threadOf(import.meta.url, 'training-thread-main', { maxOldGenerationSizeMb: MAX_MEMORY_MB });
  // An idle thread must not keep the process alive, and what it says when it dies is told to whoever asks next.
  worker.unref();
  let death: Error | undefined;
  worker.on('error', (error) => {
    death = error;
  });
  const post = (request: TrainingRequest) => worker.postMessage(request);
  return {
    add: (calls) => post({ kind: 'add', calls }),
    train: () =>
      new Promise((resolve, reject) => {
        if (death) {
          reject(death);
          return;
        }
        const ended = () => reject(new Error('the training thread has ended'));
        worker.once('message', (answer: TrainingAnswer) => {
          worker.off('error', reject).off('exit', ended);
          if ('error' in answer) reject(new Error(answer.error));
          else resolve(answer.file);
        });
        worker.once('error', reject).once('exit', ended);
        post({ kind: 'train' });
      }),
    close: async () => {
      await worker.terminate();
    },
  };
}
