import type { Demand, HoldReason } from '../model/fleet.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';

/** Place in the order after which batch stages are paused, where none are. */
export const NOT_PAUSED = Number.POSITIVE_INFINITY;

/** A stage that waits at its engine. */
export interface Hold {
  /** With the place in the order that it has by now, and a rank that there is. */
  demand: Demand;
  readonly reason: HoldReason;
  readonly sinceMs: number;
  /** Did it come while the engine was not running? Then its wait for the weights counts as a cold start. */
  readonly cold: boolean;
}

/** A hold with its places: in the order of its class, and among those whose place in it will change. */
interface Entry {
  readonly order: HeapEntry<Hold>;
  readonly change: HeapEntry<Hold> | undefined;
}

/** The holds of one engine in the global order; bounded by the caller. */
export class HoldQueue {
  private readonly interactive = new StableHeap<Hold>();
  private readonly batch = new StableHeap<Hold>();
  private readonly changes = new StableHeap<Hold>();
  private readonly entries = new Map<string, Entry>();
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

  /** Seats that those ask for that are for the rank. */
  seatsOn(rank: number): number {
    let seats = 0;
    for (const { order } of this.entries.values()) {
      const { demand } = order.value;
      if (demand.rank === rank) seats += demand.sequences ?? 1;
    }
    return seats;
  }

  /** {@link first} of those that are for the rank. There are few, so that they are looked through. */
  firstOn(rank: number, batchPausedAfter: number): Hold | undefined {
    let first: HeapEntry<Hold> | undefined;
    for (const { order } of this.entries.values()) {
      const { demand } = order.value;
      if (demand.rank !== rank || (!demand.interactive && order.key > batchPausedAfter)) continue;
      if (
        !first ||
        order.key < first.key ||
        (order.key === first.key && demand.interactive && !first.value.demand.interactive)
      )
        first = order;
    }
    return first?.value;
  }

  /** The first in the global order, without batch stages later in it than the key after which those are paused. */
  first(batchPausedAfter = NOT_PAUSED): Hold | undefined {
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
    return this.entries.get(stageId)?.order.value;
  }

  add(hold: Hold): void {
    this.sinceSumMs += hold.sinceMs;
    this.kvTokens += hold.demand.kvTokens;
    this.seats += hold.demand.sequences ?? 1;
    const { stageId, orderKey, keyChange } = hold.demand;
    this.entries.set(stageId, {
      order: this.heapOf(hold).push(hold, orderKey),
      change: keyChange && this.changes.push(hold, keyChange.atMs),
    });
  }

  /** When the place of a hold next changes by time alone; Infinity when never. */
  get changeDueMs(): number {
    return this.changes.peek()?.key ?? Number.POSITIVE_INFINITY;
  }

  /** Gives every hold the place that it has by now; true when any has another one. */
  reorder(nowMs: number): boolean {
    const any = this.changeDueMs <= nowMs;
    for (let first = this.changes.peek(); first && first.key <= nowMs; first = this.changes.peek()) {
      this.changes.pop();
      const hold = first.value;
      const { orderKey } = hold.demand.keyChange!;
      hold.demand = { ...hold.demand, orderKey, keyChange: undefined };
      this.heapOf(hold).rekey(this.entries.get(hold.demand.stageId)!.order, orderKey);
    }
    return any;
  }

  /** Every demand becomes what `change` makes of it; its place in the order stays. */
  changeDemands(change: (demand: Demand) => Demand): void {
    for (const { order } of this.entries.values()) order.value.demand = change(order.value.demand);
  }

  takeFirst(): Hold | undefined {
    const hold = this.first();
    if (hold) this.remove(hold.demand.stageId);
    return hold;
  }

  remove(stageId: string): boolean {
    const entry = this.entries.get(stageId);
    if (!entry) return false;
    const hold = entry.order.value;
    this.entries.delete(stageId);
    if (entry.change) this.changes.remove(entry.change);
    this.sinceSumMs -= hold.sinceMs;
    this.kvTokens -= hold.demand.kvTokens;
    this.seats -= hold.demand.sequences ?? 1;
    return this.heapOf(hold).remove(entry.order);
  }

  private heapOf({ demand }: Hold): StableHeap<Hold> {
    return demand.interactive ? this.interactive : this.batch;
  }
}
