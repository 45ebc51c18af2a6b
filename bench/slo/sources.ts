import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { importTrace } from '../../traces/import/import.js';
import { IMPORTERS } from '../../traces/import/registry.js';
import { readTrace } from '../../traces/reader.js';
import type { Trace } from '../../traces/schema.js';

export interface TraceFolder {
  /** Opens what a spec names: the folder of that source, if it is there. */
  readonly open: (path: string) => Promise<Trace>;
  /** What was passed over, and why. */
  readonly skipped: readonly string[];
}

/** Thrown for a trace whose source folder is not there; the workload that needs it is left out. */
export class MissingSource extends Error {}

/** The shipped traces. */
export const SHIPPED: TraceFolder = { open: readTrace, skipped: [] };

/** Sources in a folder with one subfolder each, named like the formats of `maestro trace import`; with hashed words of last messages where asked for. */
export async function traceFolder(directory: string, textGrams = false): Promise<TraceFolder> {
  const known = IMPORTERS.map(({ format }) => format);
  const found = (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  return {
    open: async (path) => {
      const format = basename(path).replace(/\.jsonl(\.gz)?$/, '');
      const folder = join(directory, format);
      if (!existsSync(folder)) throw new MissingSource(`no folder ${format}`);
      return await importTrace(format, [folder], { textGrams });
    },
    skipped: found.flatMap(({ name }) => (known.includes(name) ? [] : [`folder ${name}: no importer of that name`])),
  };
}
