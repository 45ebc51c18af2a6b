import { type HeapEntry, StableHeap } from '../src/model/heap.js';

export type Scheduled = HeapEntry<() => void>;

/**
 * Virtual time. Events fire in order of their time, and of two at the same time the one that was set first, so a run is the same every time. What is set by
 * {@link soon} runs after the present event, before time moves on.
 */
export class EventLoop {
  nowMs = 0;
  /** Events that have fired. */
  fired = 0;
  private readonly heap = new StableHeap<() => void>();
  /** The first `queued` are due; the array keeps its length, so that nothing is allocated at every event. */
  private readonly queue: (() => void)[] = [];
  private queued = 0;
  private stopped = false;
  private watching = 0;

  at(atMs: number, run: () => void): Scheduled {
    return this.heap.push(run, Math.max(this.nowMs, atMs));
  }

  after(delayMs: number, run: () => void): Scheduled {
    return this.heap.push(run, this.nowMs + Math.max(0, delayMs));
  }

  /** An event that looks at the run from time to time and is no work of its own: see {@link run}. */
  watch(delayMs: number, run: () => void): void {
    this.watching += 1;
    this.after(delayMs, () => {
      this.watching -= 1;
      run();
    });
  }

  cancel(event: Scheduled | undefined): void {
    if (event) this.heap.remove(event);
  }

  /** Moves an event to another time; one that has fired, or was cancelled, is set anew. */
  move(event: Scheduled, atMs: number): void {
    const dueMs = Math.max(this.nowMs, atMs);
    if (!this.heap.pushAgain(event, dueMs)) this.heap.rekey(event, dueMs);
  }

  soon(run: () => void): void {
    this.queue[this.queued++] = run;
  }

  stop(): void {
    this.stopped = true;
  }

  /** Runs until nothing is left, or {@link stop}, or until the next event lies after `untilMs`. Where no such end is given, what {@link watch} has set does not keep it going. */
  run(untilMs = Number.POSITIVE_INFINITY): void {
    const { heap } = this;
    this.drain();
    while (!this.stopped) {
      const next = heap.peek();
      if (!next || next.key > untilMs) return;
      if (untilMs === Number.POSITIVE_INFINITY && heap.size === this.watching) return;
      this.nowMs = next.key;
      heap.pop();
      this.fired += 1;
      next.value();
      if (this.queued > 0) this.drain();
    }
  }

  private drain(): void {
    const { queue } = this;
    for (let index = 0; index < this.queued; index++) queue[index]!();
    this.queued = 0;
  }
}
