import { StableHeap } from '../model/heap.js';
import type { QueuedStage } from './queued-stage.js';

/** A bounced stage waits this long before it is tried again, doubling with every bounce. */
const FIRST_PARK_MS = 5;
const LAST_PARK_MS = 500;

/** Stages that a cluster has bounced, each until it is tried again. */
export class ParkedStages {
  private readonly byTime = new StableHeap<QueuedStage>();
  /** Those that ask for an adapter, by its name. */
  private readonly byAdapter = new Map<string, Set<QueuedStage>>();

  add(queued: QueuedStage, nowMs: number): void {
    const parkMs = Math.min(LAST_PARK_MS, FIRST_PARK_MS * 2 ** queued.bounces);
    queued.bounces += 1;
    queued.parkedEntry = this.byTime.push(queued, nowMs + parkMs);
    const { adapter } = queued.stage;
    if (adapter === undefined) return;
    const others = this.byAdapter.get(adapter);
    if (others) others.add(queued);
    else this.byAdapter.set(adapter, new Set([queued]));
  }

  /** Does nothing where it is not here. */
  remove(queued: QueuedStage): void {
    if (!queued.parkedEntry) return;
    this.byTime.remove(queued.parkedEntry);
    queued.parkedEntry = undefined;
    const { adapter } = queued.stage;
    const others = adapter === undefined ? undefined : this.byAdapter.get(adapter);
    others?.delete(queued);
    if (others?.size === 0) this.byAdapter.delete(adapter!);
  }

  /** One whose time is over. */
  takeDue(nowMs: number): QueuedStage | undefined {
    const first = this.byTime.peek();
    if (!first || first.key > nowMs) return undefined;
    this.remove(first.value);
    return first.value;
  }

  /**
   * A stage of the model has ended, and may have left a seat where an adapter is: the first that waits for each. Most engines of a model may be without it, so that its calls bounce off
   * seats that are free elsewhere; those that have done so longest would come last, behind all that arrive when a seat is free.
   */
  takeFirstOfAdapters(model: string): QueuedStage[] {
    if (this.byAdapter.size === 0) return [];
    const taken = [...this.byAdapter.values()].flatMap((waiting) => {
      let first: QueuedStage | undefined;
      for (const queued of waiting) {
        if (queued.stage.model === model && (!first || goesBefore(queued, first))) first = queued;
      }
      return first ?? [];
    });
    for (const queued of taken) this.remove(queued);
    return taken;
  }

  /** When the next one's time is over; Infinity when none is here. */
  get nextMs(): number {
    return this.byTime.peek()?.key ?? Number.POSITIVE_INFINITY;
  }
}

function goesBefore(a: QueuedStage, b: QueuedStage): boolean {
  return a.kind === b.kind ? a.orderKey < b.orderKey : a.kind === 'interactive';
}
