import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { makeFolder } from '../../observe/make-folder.js';

const canarySchema = z.object({
  /** When the engine's process started, seconds since 1970: another process may have other weights. */
  process: z.number(),
  answer: z.string(),
});

/** What an engine process answered to its canary while its weights were whole. Outlives the agent, as the process does. */
export interface CanaryMemory {
  recall(process: number): string | undefined;
  keep(process: number, answer: string): void;
}

/**
 * Keeps the answer in a file, which is replaced in one step.
 *
 * @param onFailed Hears why it could not be written; the answer is then lost with the agent.
 */
export function canaryFile(path: string, onFailed: (error: unknown) => void): CanaryMemory {
  return {
    recall(process) {
      try {
        const kept = canarySchema.parse(JSON.parse(readFileSync(path, 'utf8')));
        return kept.process === process ? kept.answer : undefined;
      } catch {
        // None was kept, or only half of one: it is asked for anew.
        return undefined;
      }
    },
    keep(process, answer) {
      try {
        makeFolder(dirname(path));
        writeFileSync(`${path}.new`, JSON.stringify({ process, answer }), { mode: 0o640 });
        renameSync(`${path}.new`, path);
      } catch (error) {
        onFailed(error);
      }
    },
  };
}
