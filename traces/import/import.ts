import { MaestroError } from '../../src/model/error.js';
import { SeededRng } from '../../src/model/rng.js';
import type { BadFile } from '../lines.js';
import type { Trace } from '../schema.js';
import { openSources } from './importer.js';
import { IMPORTERS } from './registry.js';
import { type TextEmbedder, TextVectors } from './text-fields.js';

/** Imports files or folders of a public trace. Equal input and seed give an equal trace. */
export async function importTrace(
  format: string,
  paths: readonly string[],
  options: {
    readonly limitWorkflows?: number;
    readonly textGrams?: boolean;
    /** Keeps vectors of the last messages. */
    readonly embedder?: TextEmbedder | undefined;
    readonly seed?: number;
    /** Records that are not of the format are left out and told here; without it the first one ends the import. */
    readonly passOver?: (error: BadFile) => void;
  } = {},
): Promise<Trace> {
  const importer = IMPORTERS.find((candidate) => candidate.format === format);
  if (!importer) {
    const known = IMPORTERS.map((candidate) => candidate.format).join(', ');
    throw new MaestroError('invalid_request', `unknown trace format ${format}; known: ${known}`);
  }
  const textVectors = options.embedder && new TextVectors(options.embedder);
  const trace = await importer.read(await openSources(paths, options.passOver), {
    limitWorkflows: options.limitWorkflows ?? Number.POSITIVE_INFINITY,
    textGrams: options.textGrams,
    textVectors,
    rng: new SeededRng(options.seed ?? 1),
  });
  if (trace.rows.length === 0) {
    throw new MaestroError('invalid_request', `no call found in ${paths.join(', ')}; is this ${format} data?`);
  }
  await textVectors?.fill();
  return trace;
}
