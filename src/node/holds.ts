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
  private readonly heap = new StableHeap<Hold>();
  private readonly entries = new Map<string, HeapEntry<Hold>>();
  private sinceSumMs = 0;
  /** KV tokens that all of them ask for. */
  kvTokens = 0;

  get size(): number {
    return this.heap.size;
  }

  /** How long all of them have waited together. */
  waitedMs(nowMs: number): number {
    return this.size * nowMs - this.sinceSumMs;
  }

  first(): Hold | undefined {
    return this.heap.peek()?.value;
  }

  get(stageId: string): Hold | undefined {
    return this.entries.get(stageId)?.value;
  }

  add(hold: Hold): void {
    this.sinceSumMs += hold.sinceMs;
    this.kvTokens += hold.demand.kvTokens;
    this.entries.set(hold.demand.stageId, this.heap.push(hold, hold.demand.orderKey));
  }

  takeFirst(): Hold | undefined {
    const hold = this.heap.pop();
    if (hold) this.forget(hold);
    return hold;
  }

  remove(stageId: string): boolean {
    const entry = this.entries.get(stageId);
    if (!entry) return false;
    this.forget(entry.value);
    return this.heap.remove(entry);
  }

  private forget(hold: Hold): void {
    this.entries.delete(hold.demand.stageId);
    this.sinceSumMs -= hold.sinceMs;
    this.kvTokens -= hold.demand.kvTokens;
  }
}
