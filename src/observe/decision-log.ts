import type { DecisionRecord } from '../bus/contract.js';
import type { LineFile } from './line-file.js';

export interface DecisionLogOptions {
  /** How many records stay in memory for `maestro explain`; the oldest leave first. */
  readonly capacity: number;
  /** JSONL file to which every finished record is appended, for training and audits. */
  readonly file?: LineFile | undefined;
}

/** The last decisions, by request id, and optionally all of them in a file. Never on the way of a request: a full disk only loses records of the file. */
export class DecisionLog {
  /** Records by age: a ring of `capacity` places. Looked through when one is asked for, which is seldom; an index would have to be kept at every request. */
  private readonly ring: DecisionRecord[] = [];
  private next = 0;

  constructor(private readonly options: DecisionLogOptions) {}

  /** Records that the file does not have, because it could not be written. */
  get lost(): number {
    return this.options.file?.lost ?? 0;
  }

  open(record: DecisionRecord): void {
    this.ring[this.next] = record;
    this.next = (this.next + 1) % this.options.capacity;
  }

  /** The newest record of a request that has ended; what `maestro explain last` shows. */
  last(): DecisionRecord | undefined {
    return this.newest((record) => record.outcome !== undefined);
  }

  /** Writes the finished record to the file. */
  close(record: DecisionRecord): void {
    this.options.file?.write(JSON.stringify(record));
  }

  get(stageId: string): DecisionRecord | undefined {
    return this.newest((record) => record.stage.stageId === stageId);
  }

  async end(): Promise<void> {
    await this.options.file?.end();
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
