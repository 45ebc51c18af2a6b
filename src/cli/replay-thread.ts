import { Worker } from 'node:worker_threads';
import type { JudgeFleet } from '../../sim/portfolio/judge.js';
import type { ReplayResult } from '../global/portfolio/replay.js';
import type { ReplayWorker } from '../global/portfolio/service.js';

/** What the thread answers. */
export type ReplayAnswer = { readonly result: ReplayResult } | { readonly error: string };

/** A replay may use this much memory; a larger one ends the thread, not the server. */
const MAX_MEMORY_MB = 512;

/** The thread on which the self-tuning policy replays its last minutes. Undefined where the fleet cannot be modelled: some model or GPU is not in the catalogues. */
export function startReplayThread(fleet: JudgeFleet): ReplayWorker | undefined {
  const engines = fleet.nodes.flatMap((node) => node.engines);
  if (engines.length === 0 || engines.some(({ llm, gpu }) => !llm || !gpu)) return undefined;
  const worker = newWorker(fleet);
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

function newWorker({ nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs, node }: JudgeFleet): Worker {
  const fleet: JudgeFleet = { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs, node };
  const fromSource = import.meta.url.endsWith('.ts');
  const file = new URL(fromSource ? './replay-thread-main.ts' : './replay-thread-main.js', import.meta.url);
  const options = { workerData: fleet, resourceLimits: { maxOldGenerationSizeMb: MAX_MEMORY_MB } };
  if (!fromSource) return new Worker(file, options);
  // A thread does not inherit a loader of TypeScript; the one of the development tools takes a line to register.
  const code = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(file.href)}); });`;
  return new Worker(code, { ...options, eval: true });
}
