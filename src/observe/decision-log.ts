import type { DecisionRecord } from '../bus/contract.js';
import type { LineFile } from './line-file.js';

export interface DecisionLogOptions {
  /** How many records stay in memory for `maestro explain`; the oldest leave first. */
  readonly capacity: number;
  /** JSONL file to which every finished record is appended, for training and audits. */
  readonly file?: Pick<LineFile, 'write' | 'end' | 'lost'> | undefined;
  /** Time of day, Unix milliseconds: the times in records count from the start of the process, and the file outlives it. */
  readonly unixMs?: (() => number) | undefined;
}

/** How long the records in memory are to reach back. */
const SPAN_MS = 60_000;

/**
 * The last decisions about requests that have ended, by request id, and optionally all of them in a file. Never on the way of a request: a full disk only
 * loses records of the file.
 *
 * Where so many requests end that all of them would push each other out before anybody could ask, some are left out: those that failed are kept, of the
 * others half the ring at once, and then as many as let it reach back for a minute. A record that is kept has to be moved by the garbage
 * collector, with all it refers to; that was a tenth of the CPU of a busy gateway.
 */
export class DecisionLog {
  /** Records by age: a ring of `capacity` places. Looked through when one is asked for, which is seldom; an index would have to be kept at every request. */
  private readonly ring: DecisionRecord[] = [];
  private next = 0;
  private newest: DecisionRecord | undefined;
  /** Records that may be kept now, and when that was worked out. */
  private credit: number;
  private atMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: DecisionLogOptions) {
    this.credit = options.capacity / 2;
  }

  /** Records that the file does not have, because it could not be written. */
  get lost(): number {
    return this.options.file?.lost ?? 0;
  }

  /** Takes the record of a request that has ended. `nowMs` never goes back. */
  close(record: DecisionRecord, nowMs: number): void {
    if (this.options.file) this.options.file.write(this.line(record));
    this.newest = record;
    if (!this.keeps(record, nowMs)) return;
    this.ring[this.next] = record;
    this.next = (this.next + 1) % this.options.capacity;
  }

  /** The newest record, of a tenant if one is given; what `maestro explain last` shows. */
  last(tenant?: string): DecisionRecord | undefined {
    return this.newestThat(({ stage }) => tenant === undefined || stage.tenant === tenant);
  }

  get(stageId: string): DecisionRecord | undefined {
    return this.newestThat(({ stage }) => stage.stageId === stageId);
  }

  private line(record: DecisionRecord): string {
    const endedAt = new Date((this.options.unixMs ?? Date.now)()).toISOString();
    return `{"endedAt":"${endedAt}",${JSON.stringify(record).slice(1)}`;
  }

  private newestThat(fits: (record: DecisionRecord) => boolean): DecisionRecord | undefined {
    if (this.newest && fits(this.newest)) return this.newest;
    const { length } = this.ring;
    for (let age = 1; age <= length; age++) {
      const record = this.ring[(this.next - age + length) % length];
      if (record && fits(record)) return record;
    }
    return undefined;
  }

  async end(): Promise<void> {
    await this.options.file?.end();
  }

  private keeps({ outcome }: DecisionRecord, nowMs: number): boolean {
    const half = this.options.capacity / 2;
    this.credit = Math.min(half, this.credit + (half * (nowMs - this.atMs)) / SPAN_MS);
    this.atMs = nowMs;
    if (this.credit >= 1) this.credit -= 1;
    else if (outcome?.kind === 'completed') return false;
    return true;
  }
}
