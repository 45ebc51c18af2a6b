import { createHash } from 'node:crypto';
import type { Clock, Timer } from '../../model/clock.js';
import { messageOf } from '../../model/error.js';
import { LruMap } from '../../model/lru-map.js';
import { embeddedPart, type TextVector } from '../../model/text-vector.js';

/** Where vectors come from: a thread with an embedder. */
export interface TextVectorSource {
  embed(texts: readonly string[]): Promise<readonly TextVector[]>;
  close(): Promise<void>;
}

export interface TextVectorOptions {
  readonly source: TextVectorSource;
  /** What a request waits for its vector at most. */
  readonly waitMs: number;
  /** In wall time. */
  readonly clock: Clock;
  /** Told once, when the embedder is asked no more. */
  readonly onOutOfService: (reason: string) => void;
}

/** Texts that one run takes at most: more would keep the first of them waiting. */
const MAX_BATCH = 8;
/** Texts that may wait for a run; those beyond go without a vector at once. */
const MAX_WAITING = 64;
/** Vectors that are remembered: what tools say and systems ask is often the same. About 600 bytes each. */
const MAX_REMEMBERED = 4096;
/** Texts in a row that were not ready in time, after which the embedder goes: a machine out of breath is slow now and then. */
const MAX_LATE = 20;

/** What an embedder reads first: a first run is slower than all that follow. */
const FIRST_TEXT = 'the first text';

/** A text that is being read, and the requests that wait for it. */
interface Reading {
  readonly key: string;
  readonly text: string;
  readonly waiting: Set<(vector: TextVector | undefined) => void>;
}

/**
 * Vectors of the texts of live requests. A request never waits longer than `waitMs`: it goes on without a vector then, and the predictor without that feature. An embedder that fails, or
 * that is late {@link MAX_LATE} times in a row, is taken out of service, and nothing waits any more. There is no way back: a restart begins anew.
 */
export class TextVectors {
  private readonly remembered = new LruMap<string, TextVector>(MAX_REMEMBERED);
  private readonly readings = new Map<string, Reading>();
  private readonly queue: Reading[] = [];
  private isReady = false;
  private isRunning = false;
  private lateInARow = 0;
  private lateTexts = 0;
  private reason: string | undefined;

  constructor(private readonly options: TextVectorOptions) {}

  /** Why the embedder is asked no more; undefined while it is. */
  get outOfService(): string | undefined {
    return this.reason;
  }

  /** Texts so far whose vector was not ready in time. */
  get late(): number {
    return this.lateTexts;
  }

  /** Waits until the embedder has been loaded and has run once. Until then no request waits for it. Never rejects. */
  async start(): Promise<void> {
    try {
      await this.options.source.embed([FIRST_TEXT]);
      this.isReady = true;
    } catch (error) {
      this.retire(messageOf(error));
    }
  }

  /** Calls back once: at once where the vector is known or will not come, else when it is there or the time is up. */
  read(text: string, done: (vector: TextVector | undefined) => void): void {
    const part = this.isReady && this.reason === undefined ? embeddedPart(text) : undefined;
    if (part === undefined) {
      done(undefined);
      return;
    }
    const key = createHash('sha1').update(part).digest('base64');
    const known = this.remembered.get(key);
    if (known) done(known);
    else this.wait(key, part, done);
  }

  async close(): Promise<void> {
    this.retire('closed', false);
    await this.options.source.close();
  }

  private wait(key: string, text: string, done: (vector: TextVector | undefined) => void): void {
    const reading = this.readings.get(key) ?? this.begin(key, text);
    if (!reading) {
      this.wasLate();
      done(undefined);
      return;
    }
    let timer: Timer | undefined;
    const waiter = (vector: TextVector | undefined) => {
      timer?.cancel();
      reading.waiting.delete(waiter);
      done(vector);
    };
    reading.waiting.add(waiter);
    timer = this.options.clock.after(this.options.waitMs, () => {
      waiter(undefined);
      this.wasLate();
    });
  }

  private begin(key: string, text: string): Reading | undefined {
    if (this.queue.length >= MAX_WAITING) return undefined;
    const reading = { key, text, waiting: new Set<(vector: TextVector | undefined) => void>() };
    this.readings.set(key, reading);
    this.queue.push(reading);
    // Once what is on hand has been looked through: requests of one packet share a run.
    if (!this.isRunning) {
      this.isRunning = true;
      queueMicrotask(() => void this.run());
    }
    return reading;
  }

  private async run(): Promise<void> {
    while (this.queue.length > 0 && this.reason === undefined) {
      const batch = this.queue.splice(0, MAX_BATCH).filter((reading) => {
        if (reading.waiting.size > 0) return true;
        this.readings.delete(reading.key);
        return false;
      });
      if (batch.length === 0) continue;
      try {
        this.settle(batch, await this.options.source.embed(batch.map(({ text }) => text)));
      } catch (error) {
        this.retire(messageOf(error));
      }
    }
    this.isRunning = false;
  }

  private settle(batch: readonly Reading[], vectors: readonly TextVector[]): void {
    batch.forEach(({ key, waiting }, index) => {
      const vector = vectors[index];
      this.readings.delete(key);
      if (vector) this.remembered.set(key, vector);
      if (waiting.size > 0) this.lateInARow = 0;
      for (const waiter of [...waiting]) waiter(vector);
    });
  }

  private wasLate(): void {
    this.lateTexts += 1;
    this.lateInARow += 1;
    if (this.lateInARow < MAX_LATE) return;
    this.retire(`${MAX_LATE} texts in a row were not ready within ${this.options.waitMs} ms`);
  }

  private retire(reason: string, isTold = true): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    if (isTold) this.options.onOutOfService(reason);
    this.queue.length = 0;
    const readings = [...this.readings.values()];
    this.readings.clear();
    for (const { waiting } of readings) for (const waiter of [...waiting]) waiter(undefined);
  }
}
