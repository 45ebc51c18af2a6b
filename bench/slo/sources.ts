import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { MaestroError } from '../../src/model/error.js';
import { importTrace } from '../../traces/import/import.js';
import { dataFiles } from '../../traces/import/importer.js';
import { LeftOut } from '../../traces/import/left-out.js';
import { IMPORTERS } from '../../traces/import/registry.js';
import { BadFile } from '../../traces/lines.js';
import { readTrace } from '../../traces/reader.js';
import type { Trace } from '../../traces/schema.js';

export interface TraceFolder {
  /** Opens what a spec names; throws a {@link MaestroError} where it cannot. */
  readonly open: (path: string) => Promise<Trace>;
  /** What was passed over, and why; it grows as traces are opened. */
  readonly skipped: readonly string[];
  /** Are these other traces than those for which the specs were written? Then a workload is as big as they allow. */
  readonly foreign: boolean;
}

/** What is kept of the texts of a source. */
type KeptTexts = Pick<NonNullable<Parameters<typeof importTrace>[2]>, 'textGrams' | 'embedder'>;

const shipped = new Map<string, Promise<Trace>>();

/** The shipped traces, each read once: workloads share them. */
export const SHIPPED: TraceFolder = {
  open(path) {
    const trace = shipped.get(path) ?? readTrace(path);
    shipped.set(path, trace);
    return trace;
  },
  skipped: [],
  foreign: false,
};

/** Sources in a folder with one subfolder each, named like the formats of `maestro trace import`; with what `kept` asks for of last messages. */
export async function traceFolder(directory: string, kept: KeptTexts = {}): Promise<TraceFolder> {
  const known = IMPORTERS.map(({ format }) => format);
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause: Error) => {
    throw new MaestroError('invalid_request', `${directory} cannot be read: ${cause.message}`, { cause });
  });
  const found = entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink()).map(({ name }) => name);
  const skipped = found
    .filter((name) => !known.includes(name))
    .map((name) => `folder ${name}: no importer of that name; there are ${known.join(', ')}`);
  const opened = new Map<string, Promise<Trace>>();
  return {
    open: async (path) => {
      const format = basename(path).replace(/\.jsonl(\.gz)?$/, '');
      if (!found.includes(format)) throw new MaestroError('not_found', `no folder ${format}`);
      const trace = opened.get(format) ?? importSound(format, directory, skipped, kept);
      opened.set(format, trace);
      return await trace;
    },
    skipped,
    foreign: true,
  };
}

/** Imports what is sound in the files of a source, and adds to `skipped` what is not: files that cannot be read, and records that are not of the format. */
async function importSound(format: string, directory: string, skipped: string[], kept: KeptTexts): Promise<Trace> {
  const tell = (messages: readonly string[]) => {
    for (const message of messages) skipped.push(`file ${message.replace(`${directory}/`, '')}`);
  };
  for (let files = await dataFiles([join(directory, format)]); files.length > 0; ) {
    const leftOut = new LeftOut();
    try {
      const trace = await importTrace(format, files, { ...kept, passOver: (error) => leftOut.add(error) });
      tell(leftOut.describe());
      for (const note of trace.header?.left_out ?? []) skipped.push(`folder ${format}: ${note.replace(/\.$/, '')}`);
      return trace;
    } catch (error) {
      if (!(error instanceof MaestroError)) throw error;
      tell(error instanceof BadFile ? [error.message] : leftOut.describe());
      files = error instanceof BadFile ? files.filter((path) => path !== error.path) : [];
    }
  }
  throw new MaestroError('invalid_request', `folder ${format} holds nothing that is sound`);
}
