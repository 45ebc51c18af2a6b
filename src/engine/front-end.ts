import type { Sequence } from './sequence.js';

/** What a request passes before an engine's scheduler sees it: HTTP, tokenisation, the hop to the engine process. */
export interface FrontEnd {
  /** Time that every request takes, whatever else happens; the way of the first token back to the client is counted here too. */
  readonly latencyMs: number;
  /** Time that a request occupies its API server, which is one process, and what each token of its prompt adds. */
  readonly requestMs: number;
  readonly promptTokenMs: number;
}

/**
 * vLLM's. From the measured closed loops of Qwen3-32B and Llama-3.1-70B on Hopper: some 24 ms of the time to first token of a
 * prompt of 1024 tokens are not the GPU's, and bursts pass at about a millisecond a request. (A single H100 with a 14B model shows
 * 67 ms at light load, of which the kernels explain 39.) The token's share is the speed of a Rust tokenizer.
 */
export const VLLM_FRONT_END: FrontEnd = { latencyMs: 20, requestMs: 1, promptTokenMs: 0.003 };

/** Requests reach the scheduler at once: for times measured inside the engine, and for the scheduler alone. */
export const NO_FRONT_END: FrontEnd = { latencyMs: 0, requestMs: 0, promptTokenMs: 0 };

interface Entry {
  readonly sequence: Sequence;
  readonly readyMs: number;
}

/** Requests on their way to the scheduler, in the order in which they are ready: that of arrival, where there is one API server. */
export class FrontDoor {
  /** No request ever waits here. */
  readonly open: boolean;
  /** The first `head` have gone through; the room is used again once all have. */
  private readonly entries: (Entry | undefined)[] = [];
  private head = 0;
  private count = 0;
  /** Of each API server. */
  private readonly busyUntilMs: number[];

  /** @param servers API servers; a request goes to the one that is free first. */
  constructor(
    private readonly times: FrontEnd,
    servers = 1,
  ) {
    this.busyUntilMs = Array.from({ length: servers }, () => Number.NEGATIVE_INFINITY);
    this.open = times.latencyMs === 0 && times.requestMs === 0 && times.promptTokenMs === 0;
  }

  get size(): number {
    return this.count - this.head;
  }

  push(sequence: Sequence, nowMs: number): void {
    const { latencyMs, requestMs, promptTokenMs } = this.times;
    const { busyUntilMs } = this;
    let server = 0;
    for (let other = 1; other < busyUntilMs.length; other++) {
      if (busyUntilMs[other]! < busyUntilMs[server]!) server = other;
    }
    const startMs = Math.max(nowMs, busyUntilMs[server]!);
    busyUntilMs[server] = startMs + requestMs + promptTokenMs * sequence.promptTokens;
    this.makeRoom();
    const { entries } = this;
    const readyMs = busyUntilMs[server]! + latencyMs;
    let place = this.count++;
    for (; place > this.head && entries[place - 1]!.readyMs > readyMs; place--) entries[place] = entries[place - 1];
    entries[place] = { sequence, readyMs };
  }

  /** When the next one is through; Infinity when nobody is here. */
  nextMs(): number {
    return this.head === this.count ? Number.POSITIVE_INFINITY : this.entries[this.head]!.readyMs;
  }

  /** Lets the next one through. */
  shift(): Sequence {
    if (this.head === this.count) throw new Error('FrontDoor: nobody is here');
    const { sequence } = this.entries[this.head]!;
    this.entries[this.head++] = undefined;
    return sequence;
  }

  /** Turns everybody away. */
  drain(): Sequence[] {
    const all: Sequence[] = [];
    while (this.size > 0) all.push(this.shift());
    return all;
  }

  /** Turns a request away that is still here; false when it is not. */
  remove(id: string): boolean {
    for (let index = this.head; index < this.count; index++) {
      if (this.entries[index]!.sequence.id !== id) continue;
      this.entries.copyWithin(index, index + 1, this.count);
      this.entries[--this.count] = undefined;
      return true;
    }
    return false;
  }

  /** Moves those who are here to the front when half of the room lies behind them. */
  private makeRoom(): void {
    if (2 * this.head < this.count) return;
    const { head, count, entries } = this;
    entries.copyWithin(0, head, count);
    this.count = count - head;
    this.head = 0;
    entries.fill(undefined, this.count, count);
  }
}
