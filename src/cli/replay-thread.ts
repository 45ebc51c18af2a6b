import type { JudgeFleet } from '../../sim/portfolio/judge.js';
import type { ReplayResult } from '../global/portfolio/replay.js';
import type { ReplayWorker } from '../global/portfolio/service.js';
import { threadOf } from './thread.js';

/** What the thread answers. */
export type ReplayAnswer = { readonly result: ReplayResult } | { readonly error: string };

/** A replay may use this much memory; a larger one ends the thread, not the server. */
const MAX_MEMORY_MB = 512;

/** The thread on which the self-tuning policy replays its last minutes. Undefined where the fleet cannot be modelled: some model or GPU is not in the catalogues. */
export function startReplayThread(judged: JudgeFleet): ReplayWorker | undefined {
  const { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs, node, queue } = judged;
  const engines = nodes.flatMap((node) => node.engines);
  if (engines.length === 0 || engines.some(({ llm, gpu }) => !llm || !gpu)) return undefined;
  const fleet: JudgeFleet = { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs, node, queue };
  const limits = { maxOldGenerationSizeMb: MAX_MEMORY_MB };
  const worker = threadOf(import.meta.url, 'replay-thread-main', limits, fleet);
  // An idle thread must not keep the process alive, and what it says when it dies is told to whoever asks next.
  worker.unref();
  let death: Error | undefined;
  worker.on('error', (error) => {
    death = error;
  });
  return {
    evaluate: (request) =>
      new Promise((resolve, reject) => {
        if (death) {
          reject(death);
          return;
        }
        const settle = (answer: ReplayAnswer) => {
          worker.off('error', reject);
          if ('error' in answer) reject(new Error(answer.error));
          else resolve(answer.result);
        };
        worker.once('message', settle);
        worker.once('error', reject);
        worker.postMessage(request);
      }),
    close: async () => {
      await worker.terminate();
    },
  };
}
