import type { HeapEntry } from '../model/heap.js';

/** The named blocks of all sequences that hold none. Nothing is ever added to it: a sequence with hashes gets a list of its own when it is admitted. */
export const NO_BLOCKS: number[] = [];

/**
 * One request inside the engine:
 * - `waiting`: holds no KV; new, or preempted and to be computed again;
 * - `prefill`: running, its prompt (and what it had generated before a preemption) not yet computed to the end;
 * - `decode`: running, one token a step; its counters stand as of `joinStep` and move with the {@link DecodeSet};
 * - `gone`: finished or aborted.
 */
export interface Sequence {
  readonly id: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly priority: number;
  readonly arrivalMs: number;
  /** When the scheduler got it. */
  addedMs: number;
  /** Order of adding; breaks all ties. */
  readonly order: number;
  /** Hashes of its full blocks, salted; empty when it shares nothing. */
  readonly keys: readonly (string | number)[];
  state: 'waiting' | 'prefill' | 'decode' | 'gone';
  /** Tokens generated, and tokens whose KV is computed. */
  generated: number;
  computed: number;
  /** Decode step at which it joined the decoding ones. */
  joinStep: number;
  /** Tokens that its prefill must compute. */
  targetTokens: number;
  /** Tokens of its prefill in the step under way. */
  chunkTokens: number;
  /** Blocks held while in `prefill`; in `decode` they follow from `computed`. */
  blocks: number;
  /** The held blocks that have a hash, in order of the prompt, and how many of its hashes were looked at. */
  named: number[];
  keysSeen: number;
  /** Prompt tokens that were cached when it was first admitted. */
  cachedTokens: number;
  scheduledMs: number;
  preemptions: number;
  /** Decode step for which it was given its block one by one, because blocks ran short. */
  grantStep: number;
  finishEntry: HeapEntry<Sequence> | undefined;
  /** Which of the ranks that step together has it. */
  rank: number;
  /** The rank that was asked for. */
  readonly wantedRank: number | undefined;
  previous: Sequence | undefined;
  next: Sequence | undefined;
}

/** The running sequences in order of admission. */
export class RunningList {
  size = 0;
  first: Sequence | undefined;
  last: Sequence | undefined;

  append(sequence: Sequence): void {
    sequence.previous = this.last;
    sequence.next = undefined;
    if (this.last) this.last.next = sequence;
    else this.first = sequence;
    this.last = sequence;
    this.size += 1;
  }

  remove(sequence: Sequence): void {
    if (sequence.previous) sequence.previous.next = sequence.next;
    else this.first = sequence.next;
    if (sequence.next) sequence.next.previous = sequence.previous;
    else this.last = sequence.previous;
    sequence.previous = undefined;
    sequence.next = undefined;
    this.size -= 1;
  }

  toArray(): Sequence[] {
    const all: Sequence[] = [];
    for (let sequence = this.first; sequence; sequence = sequence.next) all.push(sequence);
    return all;
  }
}

/**
 * The waiting queue: by (priority, arrival, order of adding) under `priority`, by order of adding under `fcfs`, so that a preempted
 * sequence stands before all that came after it. Aborted ones are dropped when they reach the head.
 */
export class WaitingQueue {
  /** Sequences that wait, aborted ones not counted. */
  size = 0;
  private readonly heap: Sequence[] = [];

  constructor(private readonly byPriority: boolean) {}

  push(sequence: Sequence): void {
    this.size += 1;
    const { heap } = this;
    let index = heap.length;
    heap.push(sequence);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.before(sequence, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = sequence;
  }

  peek(): Sequence | undefined {
    while (this.heap.length > 0 && this.heap[0]!.state === 'gone') this.removeFirst();
    return this.heap[0];
  }

  /** Takes the head, which {@link peek} has shown. */
  shift(): void {
    this.removeFirst();
    this.size -= 1;
  }

  /** Call after a waiting sequence has become `gone`. */
  dropped(): void {
    this.size -= 1;
  }

  /** All that wait, in queue order; the queue is empty afterwards. */
  drain(): Sequence[] {
    const all = this.heap.filter((sequence) => sequence.state !== 'gone');
    all.sort((a, b) => (this.before(a, b) ? -1 : 1));
    this.heap.length = 0;
    this.size = 0;
    return all;
  }

  /** Does `a` go before `b`? */
  before(a: Sequence, b: Sequence): boolean {
    if (this.byPriority) {
      if (a.priority !== b.priority) return a.priority < b.priority;
      if (a.arrivalMs !== b.arrivalMs) return a.arrivalMs < b.arrivalMs;
    }
    return a.order < b.order;
  }

  private removeFirst(): void {
    const { heap } = this;
    const moving = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      if (child + 1 < length && this.before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!this.before(heap[child]!, moving)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = moving;
  }
}
