import { createWriteStream, type WriteStream } from 'node:fs';
import type { DecisionRecord } from '../bus/contract.js';

export interface DecisionLogOptions {
  /** How many records stay in memory for `maestro explain`; the oldest leave first. */
  readonly capacity: number;
  /** JSONL file to which every finished record is appended, for training and audits. */
  readonly file?: string | undefined;
  /** Told once when the file cannot be written; serving goes on without it. */
  readonly onFileError?: (error: Error) => void;
}

/** The last decisions, by request id, and optionally all of them in a file. Never on the way of a request: a full disk only ends the file. */
export class DecisionLog {
  /** Records by age: a ring of `capacity` places. Looked through when one is asked for, which is seldom; an index would have to be kept at every request. */
  private readonly ring: DecisionRecord[] = [];
  private next = 0;
  private file: WriteStream | undefined;

  constructor(private readonly options: DecisionLogOptions) {
    if (!options.file) return;
    this.file = createWriteStream(options.file, { flags: 'a' });
    this.file.on('error', (error) => {
      this.file = undefined;
      options.onFileError?.(error);
    });
  }

  open(record: DecisionRecord): void {
    this.ring[this.next] = record;
    this.next = (this.next + 1) % this.options.capacity;
  }

  /** The newest record of a request that has ended; what `maestro explain last` shows. */
  last(): DecisionRecord | undefined {
    return this.newest((record) => record.outcome !== undefined);
  }

  /** Writes the finished record to the file. A file that falls behind loses records rather than memory. */
  close(record: DecisionRecord): void {
    if (!this.file || this.file.writableLength > 4_000_000) return;
    this.file.write(`${JSON.stringify(record)}\n`);
  }

  get(stageId: string): DecisionRecord | undefined {
    return this.newest((record) => record.stage.stageId === stageId);
  }

  end(): Promise<void> {
    const file = this.file;
    return new Promise((resolve) => (file ? file.end(resolve) : resolve()));
  }

  private newest(wanted: (record: DecisionRecord) => boolean): DecisionRecord | undefined {
    const { length } = this.ring;
    for (let age = 1; age <= length; age++) {
      const record = this.ring[(this.next - age + length) % length];
      if (record && wanted(record)) return record;
    }
    return undefined;
  }
}
