import { execFile } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** Where kvcached keeps its shared-memory segments. */
export const SEGMENT_FOLDER = '/dev/shm';

/** Three native little-endian int64: limit, bytes in use, bytes mapped in advance (kvcached `mem_info_tracker.hpp`). */
export const SEGMENT_BYTES = 24;

/** What a segment says: bytes over all layers, K and V, as one rank sees them. */
export interface SegmentReading {
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly preallocBytes: number;
}

export type SegmentWrite = { readonly ok: true } | { readonly ok: false; readonly message: string };

const LOCK_WAIT_S = 2;
const WRITE_LIMIT_MS = 5_000;
const TRIES = 3;

/**
 * Writes eight bytes at the start of the file under `flock(2)`, which Node does not have: `flock` of util-linux locks a descriptor that exists (it must not
 * create the file), and `dd` writes through the same inode. Exit codes: 3 no such file, 4 lock not had in time.
 */
const WRITE_SCRIPT = `exec 9<"$1" || exit 3
flock -x -w ${LOCK_WAIT_S} 9 || exit 4
printf "$2" | dd of=/proc/self/fd/9 bs=8 count=1 conv=notrunc 2>/dev/null`;

export interface SegmentOptions {
  /** File name: `KVCACHED_IPC_NAME`, cleaned as kvcached does. */
  readonly name: string;
  /** The engine's whole pool, which is the limit that it sets at its start. */
  readonly capacityBytes: number;
  /** The least amount that the engine maps or unmaps: 2 MiB × layers × 2. */
  readonly bundleBytes: number;
  readonly folder?: string;
}

/** The limit of one kvcached engine's KV memory, kept in shared memory. Reads need no lock: a word is read whole. */
export class KvSegment {
  readonly path: string;

  constructor(private readonly options: SegmentOptions) {
    this.path = join(options.folder ?? SEGMENT_FOLDER, segmentName(options.name));
  }

  /** Undefined when there is no segment, or the file is none. */
  read(): SegmentReading | undefined {
    let file: number;
    try {
      file = openSync(this.path, 'r');
    } catch {
      return undefined;
    }
    try {
      const words = Buffer.alloc(SEGMENT_BYTES);
      if (fstatSync(file).size !== SEGMENT_BYTES || readSync(file, words, 0, SEGMENT_BYTES, 0) !== SEGMENT_BYTES) {
        return undefined;
      }
      const [limitBytes, usedBytes, preallocBytes] = [0, 8, 16].map((at) => Number(words.readBigInt64LE(at)));
      if (limitBytes! <= 0 || usedBytes! < 0 || preallocBytes! < 0) return undefined;
      return { limitBytes: limitBytes!, usedBytes: usedBytes!, preallocBytes: preallocBytes! };
    } finally {
      closeSync(file);
    }
  }

  /**
   * Sets the limit and reads it back. The engine compares what it reads with its *initial* capacity and takes an equal value for "no change", so the whole
   * pool is given back as one bundle less; a limit above it is never checked and one of 0 ignored, so neither is written.
   */
  async setLimit(bytes: number): Promise<SegmentWrite> {
    const limit = this.writable(bytes);
    if (!this.read()) return { ok: false, message: `${this.path} is no kvcached segment; is the engine up?` };
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const failure = await lockedWrite(this.path, limit);
      if (failure !== undefined) return { ok: false, message: failure };
      if (this.read()?.limitBytes === limit) return { ok: true };
    }
    return { ok: false, message: `the limit in ${this.path} is overwritten by somebody else` };
  }

  /** What would be written for a wish. */
  writable(bytes: number): number {
    const { capacityBytes, bundleBytes } = this.options;
    return Math.max(bundleBytes, Math.min(Math.floor(bytes), capacityBytes - bundleBytes));
  }
}

/** As kvcached cleans the name that it is given. */
export function segmentName(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 64);
}

/** What switches kvcached on in an engine's process; nothing where it has no name. */
export function kvcachedEnvironment(name: string | undefined): Record<string, string> {
  if (name === undefined) return {};
  return { ENABLE_KVCACHED: 'true', KVCACHED_AUTOPATCH: '1', KVCACHED_IPC_NAME: segmentName(name) };
}

/** Undefined when done; else why not. */
function lockedWrite(path: string, value: number): Promise<string | undefined> {
  const word = Buffer.alloc(8);
  word.writeBigInt64LE(BigInt(value));
  const octal = [...word].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', WRITE_SCRIPT, 'sh', path, octal], { timeout: WRITE_LIMIT_MS }, (error) => {
      if (!error) resolve(undefined);
      else if (error.code === 3) resolve(`${path} is gone`);
      else if (error.code === 4) resolve(`${path} stayed locked for ${LOCK_WAIT_S} s`);
      else resolve(`cannot write ${path}: ${error.message}`);
    });
  });
}
