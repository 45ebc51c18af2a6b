import { type HeapEntry, StableHeap } from '../model/heap.js';
import type { EngineRecord } from './engine-record.js';

/** When every engine was heard of last, so that those which have fallen silent are found without a scan. */
export class Freshness {
  private readonly byObservation = new StableHeap<EngineRecord>();
  private readonly entries = new Map<EngineRecord, HeapEntry<EngineRecord>>();

  /** @param staleAfterMs An engine is silent when it has not been heard of for so long. Infinity where the link itself tells: then none ever is. */
  constructor(private readonly staleAfterMs: number) {}

  /** The engine has a new view. */
  heard(engine: EngineRecord): void {
    if (this.staleAfterMs === Number.POSITIVE_INFINITY) return;
    const entry = this.entries.get(engine);
    if (entry && this.byObservation.rekey(entry, engine.view.observedAtMs)) return;
    this.entries.set(engine, this.byObservation.push(engine, engine.view.observedAtMs));
  }

  forget(engine: EngineRecord): void {
    const entry = this.entries.get(engine);
    if (entry) this.byObservation.remove(entry);
    this.entries.delete(engine);
  }

  /** An engine that has fallen silent; each is told once, until it is heard of again. */
  takeSilent(nowMs: number): EngineRecord | undefined {
    const first = this.byObservation.peek();
    if (!first || first.key >= nowMs - this.staleAfterMs) return undefined;
    this.byObservation.pop();
    return first.value;
  }
}
