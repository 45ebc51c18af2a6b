import {
  closeSync,
  createWriteStream,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  type WriteStream,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../model/clock.js';
import { makeFolder } from './make-folder.js';

/** A file that cannot be written is tried again after so long. */
const RETRY_MS = 10_000;

/** So often is it looked whether the file still stands at its path. */
const LOOK_MS = 10_000;

/** A file that falls behind by more than this loses lines rather than memory. */
const MOST_WAITING_BYTES = 4_000_000;

/** How far from its end a file is searched for its last whole line; longer lines are not written. */
const LONGEST_LINE_BYTES = 1_048_576;

/**
 * A file to which lines are appended beside the work, never in its way; its folder is made. On a full disk lines are lost and counted, and writing goes on by itself when there is room again. A
 * line is there whole or not at all: half of one that a crash or a full disk has left is cut off before the next. A file that is moved away or deleted, as logs are rotated,
 * is begun anew.
 */
export class LineFile {
  /** Lines that could not be written. */
  lost = 0;
  private stream: WriteStream | undefined;
  private retryAtMs = Number.NEGATIVE_INFINITY;
  private lookAtMs = 0;
  private troubled = false;
  private written: (error?: Error | null) => void = () => {};

  /**
   * @param clock In wall time.
   * @param onTrouble Told once whenever writing stops, until it has gone on.
   */
  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly onTrouble: (error: Error) => void = () => {},
  ) {
    this.open();
  }

  /** `line` without its line end. */
  write(line: string): void {
    const nowMs = this.clock.nowMs();
    if (this.stream && nowMs >= this.lookAtMs) this.followPath(nowMs);
    if (!this.stream && nowMs >= this.retryAtMs) this.open();
    if (!this.stream || this.stream.writableLength > MOST_WAITING_BYTES || line.length >= LONGEST_LINE_BYTES) {
      this.lost += 1;
      return;
    }
    this.stream.write(`${line}\n`, this.written);
  }

  /** Resolves when everything is written, or lost. */
  end(): Promise<void> {
    const { stream } = this;
    this.stream = undefined;
    this.retryAtMs = Number.POSITIVE_INFINITY;
    return new Promise((resolve) => {
      if (!stream || stream.closed) return resolve();
      stream.once('close', resolve);
      stream.end();
    });
  }

  /** Lets go of a file that stands at its path no more; what was written to it before still gets there. */
  private followPath(nowMs: number): void {
    this.lookAtMs = nowMs + LOOK_MS;
    const { stream } = this;
    if (!stream || standsAt(this.path, (stream as WriteStream & { readonly fd: number }).fd)) return;
    this.stream = undefined;
    stream.end();
  }

  private open(): void {
    this.lookAtMs = this.clock.nowMs() + LOOK_MS;
    try {
      makeFolder(dirname(this.path));
      const file = openSync(this.path, 'a+');
      try {
        cutHalfLine(file);
      } catch (error) {
        closeSync(file);
        throw error;
      }
      const stream = createWriteStream(this.path, { fd: file });
      stream.on('error', (error) => this.failed(error, stream));
      this.written = (error) => {
        if (!error) {
          this.troubled = false;
          return;
        }
        this.lost += 1;
        // The stream itself tells only when its file is closed: what came before that would be lost in silence for a while.
        this.failed(error, stream);
      };
      this.stream = stream;
    } catch (error) {
      this.failed(error as Error, undefined);
    }
  }

  private failed(error: Error, stream: WriteStream | undefined): void {
    if (this.stream !== stream) return;
    this.stream = undefined;
    this.retryAtMs = this.clock.nowMs() + RETRY_MS;
    if (!this.troubled) this.onTrouble(error);
    this.troubled = true;
  }
}

/** Is the open file the one at `path`? Where there is no telling, it is left alone. */
function standsAt(path: string, file: number): boolean {
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    const { dev, ino } = fstatSync(file);
    return there?.dev === dev && there.ino === ino;
  } catch {
    return true;
  }
}

/** Ends the file after its last whole line. */
function cutHalfLine(file: number): void {
  const info = fstatSync(file);
  if (!info.isFile() || info.size === 0) return;
  const tail = Buffer.alloc(Math.min(info.size, LONGEST_LINE_BYTES));
  readSync(file, tail, 0, tail.length, info.size - tail.length);
  const wholeBytes = info.size - tail.length + tail.lastIndexOf(10) + 1;
  if (wholeBytes < info.size) ftruncateSync(file, wholeBytes);
}
