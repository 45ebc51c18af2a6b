import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { MaestroError, systemCodeOf } from '../src/model/error.js';

/** A file that is not what it is said to be; the message begins with its path. */
export class BadFile extends MaestroError {
  constructor(
    readonly path: string,
    message: string,
    cause?: unknown,
  ) {
    super('invalid_request', `${path}: ${message}`, { cause });
  }
}

/** Some editors begin a file with it, and it is no part of the text. */
const BYTE_ORDER_MARK = '\uFEFF';

/** The lines of a text file, streaming. Gzip is recognised by its magic bytes, whatever the file is called. */
export async function* readLines(path: string): AsyncGenerator<string> {
  let rest = '';
  let begun = false;
  try {
    const file = createReadStream(path);
    const zipped = await isGzip(file);
    // pipeline hands a read error on to the unzipped side, where the loop below throws it.
    const input: Readable = zipped ? pipeline(file, createGunzip(), () => undefined) : file;
    input.setEncoding('utf8');
    for await (const chunk of input as AsyncIterable<string>) {
      const text: string = begun || !chunk.startsWith(BYTE_ORDER_MARK) ? chunk : chunk.slice(1);
      begun = true;
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  if (rest !== '') yield rest;
}

/** What the caller of a command can understand; errors that a consumer threw into the loop are not touched. */
function unreadable(path: string, error: unknown): unknown {
  const code = systemCodeOf(error) ?? '';
  if (code === 'ENOENT') return new BadFile(path, 'no such file', error);
  if (code === 'EISDIR') return new BadFile(path, 'is a folder', error);
  if (code.startsWith('Z_')) {
    return new BadFile(path, 'the gzip data is broken or cut off', error);
  }
  return error;
}

/** Looks at the first bytes and puts them back: a pipe (`/dev/stdin`) cannot be read twice. */
async function isGzip(file: Readable): Promise<boolean> {
  await once(file, 'readable');
  const first = file.read() as Buffer | null;
  if (first === null) return false;
  file.unshift(first);
  return first[0] === 0x1f && first[1] === 0x8b;
}
