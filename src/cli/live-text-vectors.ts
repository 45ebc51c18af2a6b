import type { MaestroConfig } from '../config/schema.js';
import type { Clock } from '../model/clock.js';
import type { Logger } from '../observe/log.js';
import { TextVectors } from '../predict/text-vectors/service.js';
import { startEmbedderThread } from './embedder-thread.js';

/** The embedder that a config asks for, on its thread; undefined where it asks for none. What is wrong with it is told to the log, and requests go on without. */
export function liveTextVectors(
  { embedder, embedderWaitMs: waitMs }: MaestroConfig['prediction'],
  clock: Clock,
  log: Logger,
): TextVectors | undefined {
  if (embedder === undefined) return undefined;
  const vectors = new TextVectors({
    ...{ waitMs, clock, source: startEmbedderThread(embedder) },
    onOutOfService: (reason) =>
      log.warn({ embedder, reason }, 'the sentence embedder is out of service; requests are predicted without it'),
  });
  void vectors.start().then(() => {
    if (vectors.outOfService === undefined) log.info({ embedder, waitMs }, 'a sentence embedder reads last messages');
  });
  return vectors;
}
