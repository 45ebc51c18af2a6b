import { messageOf } from '../../model/error.js';
import { loadEmbedder } from '../../predict/embedder/service.js';
import { type Finding, ok, warning } from './finding.js';

const CHECK = 'embedder';
const SUBJECT = 'prediction';

/** A sentence embedder that a config asks for. */
export interface AskedEmbedder {
  readonly folder: string;
  /** What a request waits for it at most. */
  readonly waitMs: number;
}

/** Runs whose median counts, after the first, which runs cold. */
const RUNS = 5;
/** As long as texts are cut to. */
const LONG_TEXT = 'word '.repeat(200);

/** Loads an embedder as a server would, and measures it on a long text. */
export async function examineEmbedder({ folder, waitMs }: AskedEmbedder): Promise<Finding> {
  try {
    const embedder = await loadEmbedder(folder);
    const timesMs: number[] = [];
    for (let run = 0; run <= RUNS; run++) {
      const startedMs = performance.now();
      await embedder.embed([LONG_TEXT]);
      if (run > 0) timesMs.push(performance.now() - startedMs);
    }
    await embedder.close();
    return checkEmbedder(
      { folder, waitMs },
      { name: embedder.name, textMs: timesMs.sort((a, b) => a - b)[RUNS >> 1]! },
    );
  } catch (error) {
    return checkEmbedder({ folder, waitMs }, { reason: messageOf(error) });
  }
}

export function checkEmbedder(
  { folder, waitMs }: AskedEmbedder,
  found: { readonly name: string; readonly textMs: number } | { readonly reason: string },
): Finding {
  if ('reason' in found) {
    return warning(
      CHECK,
      SUBJECT,
      `the sentence embedder is refused (${found.reason}); requests are predicted without it`,
      'Give `prediction.embedder` a folder with model.onnx and tokenizer.json as sentence-transformers exports them, or leave it out.',
    );
  }
  const textMs = found.textMs.toFixed(1);
  if (found.textMs > waitMs) {
    return warning(
      CHECK,
      SUBJECT,
      `the sentence embedder ${folder} takes ${textMs} ms for a long text, and requests wait ${waitMs} ms: it would be taken out of service`,
      'Raise `prediction.embedderWait`, or use a smaller embedder.',
    );
  }
  return ok(CHECK, SUBJECT, `the sentence embedder ${found.name} takes ${textMs} ms for a long text`);
}
