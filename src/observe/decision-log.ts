import { createWriteStream, type WriteStream } from 'node:fs';
import type { DecisionRecord } from '../bus/contract.js';
import { ChurnMap } from '../model/churn-map.js';

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
  private readonly byId = new ChurnMap<DecisionRecord>();
  /** The same records by age: a ring of `capacity` places. */
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
    const oldest = this.ring[this.next];
    if (oldest && this.byId.get(oldest.stage.stageId) === oldest) this.byId.delete(oldest.stage.stageId);
    this.ring[this.next] = record;
    this.next = (this.next + 1) % this.options.capacity;
    this.byId.set(record.stage.stageId, record);
  }

  /** The newest record of a request that has ended; what `maestro explain last` shows. */
  last(): DecisionRecord | undefined {
    const { length } = this.ring;
    for (let age = 1; age <= length; age++) {
      const record = this.ring[(this.next - age + length) % length];
      if (record?.outcome) return record;
    }
    return undefined;
  }

  /** Writes the finished record to the file. A file that falls behind loses records rather than memory. */
  close(record: DecisionRecord): void {
    if (!this.file || this.file.writableLength > 4_000_000) return;
    this.file.write(`${JSON.stringify(record)}\n`);
  }

  get(stageId: string): DecisionRecord | undefined {
    return this.byId.get(stageId);
  }

  end(): Promise<void> {
    const file = this.file;
    return new Promise((resolve) => (file ? file.end(resolve) : resolve()));
  }
}
