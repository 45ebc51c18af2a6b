import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { TraceHeader, TraceRow } from './schema.js';

/** Writes a trace; gzip when the path ends in `.gz`. The file appears under its name only when it is whole. */
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
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = createWriteStream(temporary);
    // Node's gzip header carries no time stamp, so equal rows give equal bytes.
    if (path.endsWith('.gz')) await pipeline(Readable.from(lines()), createGzip({ level: 9 }), file);
    else await pipeline(Readable.from(lines()), file);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    // Whoever reads of it has named the path, not its forerunner.
    if ((error as NodeJS.ErrnoException).path === temporary) (error as NodeJS.ErrnoException).path = path;
    throw error;
  }
  return count;
}
