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

/** First bytes of files that hold no text as they are, and what to do with them. */
const NOT_TEXT: readonly (readonly [magic: string, what: string])[] = [
  ['28b52ffd', 'compressed by zstd; unpack it first (zstd -d), or compress it by gzip'],
  ['fd377a585a00', 'compressed by xz; unpack it first (xz -d), or compress it by gzip'],
  ['425a68', 'compressed by bzip2; unpack it first (bunzip2), or compress it by gzip'],
  ['504b0304', 'a zip archive; unpack it first (unzip)'],
  ['50415231', 'a Parquet file; write it as CSV or as lines of JSON first'],
  ['fffe', 'text in UTF-16; write it in UTF-8 first'],
  ['feff', 'text in UTF-16; write it in UTF-8 first'],
];

/** The lines of a text file, streaming. Gzip is recognised by its magic bytes, whatever the file is called. */
export async function* readLines(path: string): AsyncGenerator<string> {
  // Parts of a line that has not ended: a document of a hundred megabytes may stand on one line.
  let parts: string[] = [];
  let begun = false;
  try {
    const file = createReadStream(path);
    const first = await firstBytes(file);
    const notText = NOT_TEXT.find(([magic]) => first.startsWith(magic));
    if (notText) {
      file.destroy();
      throw new BadFile(path, `is ${notText[1]}`);
    }
    const zipped = first.startsWith('1f8b');
    // pipeline hands a read error on to the unzipped side, where the loop below throws it.
    const input: Readable = zipped ? pipeline(file, createGunzip(), () => undefined) : file;
    input.setEncoding('utf8');
    for await (const chunk of input as AsyncIterable<string>) {
      const text: string = begun || !chunk.startsWith(BYTE_ORDER_MARK) ? chunk : chunk.slice(1);
      begun = true;
      const lines = text.split('\n');
      const last = lines.pop()!;
      if (lines.length > 0) {
        lines[0] = parts.join('') + lines[0]!;
        parts = [];
      }
      parts.push(last);
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
    }
    const rest = parts.join('');
    if (rest !== '') yield rest;
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** What the caller of a command can understand; errors that a consumer threw into the loop are not touched. */
function unreadable(path: string, error: unknown): unknown {
  const code = systemCodeOf(error) ?? '';
  if (code === 'ENOENT') return new BadFile(path, 'no such file', error);
  if (code === 'EISDIR') return new BadFile(path, 'is a folder', error);
  if (code.startsWith('Z_')) {
    return new BadFile(path, 'the gzip data is broken or cut off', error);
  }
  // What V8 says of a text beyond half a gigabyte.
  if (error instanceof RangeError && error.message === 'Invalid string length') {
    return new BadFile(path, 'has a line that is too long to be read', error);
  }
  return error;
}

/** Looks at the first bytes, in hexadecimal, and puts them back: a pipe (`/dev/stdin`) cannot be read twice. */
async function firstBytes(file: Readable): Promise<string> {
  await once(file, 'readable');
  const first = file.read() as Buffer | null;
  if (first === null) return '';
  file.unshift(first);
  return first.subarray(0, 8).toString('hex');
}
