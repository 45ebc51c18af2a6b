import { constants, createWriteStream } from 'node:fs';
import { access, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { TraceHeader, TraceRow } from './schema.js';

/** Throws where a file of this name could not be written: better before an import of minutes than after it. */
export async function requireWritable(path: string): Promise<void> {
  const special = await isSpecial(path);
  await access(special ? path : dirname(path), constants.W_OK);
}

/** A pipe or a device, such as `/dev/stdout`: such a name must not be given to another file. */
async function isSpecial(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && !found.isFile() && !found.isDirectory();
}

/** Writes a trace; gzip when the path ends in `.gz`. The file appears under its name only when it is whole; a pipe or a device is written to as it is. */
export async function writeTrace(
  path: string,
  header: TraceHeader | undefined,
  rows: AsyncIterable<TraceRow> | Iterable<TraceRow>,
): Promise<number> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    if (header) yield `${JSON.stringify(header)}\n`;
    for await (const row of rows) {
      count += 1;
      yield `${JSON.stringify(row)}\n`;
    }
  }
  const direct = await isSpecial(path);
  const temporary = direct ? path : `${path}.${process.pid}.tmp`;
  try {
    const file = createWriteStream(temporary);
    // Node's gzip header carries no time stamp, so equal rows give equal bytes.
    if (path.endsWith('.gz')) await pipeline(Readable.from(lines()), createGzip({ level: 9 }), file);
    else await pipeline(Readable.from(lines()), file);
    if (!direct) await rename(temporary, path);
  } catch (error) {
    if (!direct) await rm(temporary, { force: true });
    // Whoever reads of it has named the path, not its forerunner.
    if ((error as NodeJS.ErrnoException).path === temporary) (error as NodeJS.ErrnoException).path = path;
    throw error;
  }
  return count;
}
