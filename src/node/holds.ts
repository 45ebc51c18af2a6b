import type { Demand, HoldReason } from '../model/fleet.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';

/** A stage that waits at its engine. */
export interface Hold {
  readonly demand: Demand;
  readonly reason: HoldReason;
  readonly sinceMs: number;
  /** Did it come while the engine was not running? Then its wait for the weights counts as a cold start. */
  readonly cold: boolean;
}

/** The holds of one engine in the global order; bounded by the caller. */
export class HoldQueue {
  private readonly interactive = new StableHeap<Hold>();
  private readonly batch = new StableHeap<Hold>();
  private readonly entries = new Map<string, HeapEntry<Hold>>();
  private sinceSumMs = 0;
  /** KV tokens and seats that all of them ask for. */
  kvTokens = 0;
  seats = 0;

  get size(): number {
    return this.entries.size;
  }

  /** How long all of them have waited together. */
  waitedMs(nowMs: number): number {
    return this.size * nowMs - this.sinceSumMs;
  }

  /** The first in the global order, without batch stages later in it than the key after which those are paused. */
  first(batchPausedAfter = Number.POSITIVE_INFINITY): Hold | undefined {
    const interactive = this.interactive.peek();
    const firstBatch = this.batch.peek();
    const batch = firstBatch && firstBatch.key <= batchPausedAfter ? firstBatch : undefined;
    if (!interactive || !batch) return (interactive ?? batch)?.value;
    return (batch.key < interactive.key ? batch : interactive).value;
  }

  /** Place in the order of the first interactive one; undefined where all are batch. */
  firstInteractiveKey(): number | undefined {
    return this.interactive.peek()?.key;
  }

  get(stageId: string): Hold | undefined {
    return this.entries.get(stageId)?.value;
  }

  add(hold: Hold): void {
    this.sinceSumMs += hold.sinceMs;
    this.kvTokens += hold.demand.kvTokens;
    this.seats += hold.demand.sequences ?? 1;
    this.entries.set(hold.demand.stageId, this.heapOf(hold).push(hold, hold.demand.orderKey));
  }

  takeFirst(): Hold | undefined {
    const hold = this.first();
    if (hold) this.remove(hold.demand.stageId);
    return hold;
  }

  remove(stageId: string): boolean {
    const entry = this.entries.get(stageId);
    if (!entry) return false;
    const hold = entry.value;
    this.entries.delete(stageId);
    this.sinceSumMs -= hold.sinceMs;
    this.kvTokens -= hold.demand.kvTokens;
    this.seats -= hold.demand.sequences ?? 1;
    return this.heapOf(hold).remove(entry);
  }

  private heapOf({ demand }: Hold): StableHeap<Hold> {
    return demand.interactive ? this.interactive : this.batch;
  }
}
