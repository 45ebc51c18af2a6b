/** An item's place in a {@link StableHeap}; keep it to remove or re-key the item later. */
export interface HeapEntry<T> {
  readonly value: T;
  readonly key: number;
}

interface Slot<T> extends HeapEntry<T> {
  key: number;
  sequence: number;
  index: number;
}

/**
 * A 4-ary min-heap on a numeric key. Items with equal keys leave in the order in which they came (FIFO-stable), which the
 * simulator needs for byte-identical reruns. `push`, `pop`, `remove` and `rekey` cost log n.
 */
export class StableHeap<T> {
  private readonly slots: Slot<T>[] = [];
  private sequence = 0;

  get size(): number {
    return this.slots.length;
  }

  push(value: T, key: number): HeapEntry<T> {
    const slot: Slot<T> = { value, key, sequence: 0, index: -1 };
    this.enter(slot);
    return slot;
  }

  /** Puts an entry that has left back in, under this key and as the youngest among equals, so that what comes and goes for ever needs one entry. False when it has not left. */
  pushAgain(entry: HeapEntry<T>, key: number): boolean {
    const slot = entry as Slot<T>;
    if (slot.index >= 0) return false;
    slot.key = key;
    this.enter(slot);
    return true;
  }

  peek(): HeapEntry<T> | undefined {
    return this.slots[0];
  }

  pop(): T | undefined {
    const first = this.slots[0];
    if (!first) return undefined;
    this.removeAt(0);
    return first.value;
  }

  /** Takes the entry out; false when it has already left. */
  remove(entry: HeapEntry<T>): boolean {
    const slot = entry as Slot<T>;
    if (slot.index < 0 || this.slots[slot.index] !== slot) return false;
    this.removeAt(slot.index);
    return true;
  }

  /** Moves the entry to another key; it keeps its age among equals. False when it has already left. */
  rekey(entry: HeapEntry<T>, key: number): boolean {
    const slot = entry as Slot<T>;
    if (slot.index < 0 || this.slots[slot.index] !== slot) return false;
    slot.key = key;
    this.siftUp(slot.index);
    this.siftDown(slot.index);
    return true;
  }

  /** All values, in no particular order. */
  *values(): IterableIterator<T> {
    for (const slot of this.slots) yield slot.value;
  }

  private enter(slot: Slot<T>): void {
    slot.sequence = this.sequence++;
    slot.index = this.slots.length;
    this.slots.push(slot);
    this.siftUp(slot.index);
  }

  private removeAt(index: number): void {
    const removed = this.slots[index]!;
    const last = this.slots.pop()!;
    removed.index = -1;
    if (last === removed) return;
    this.slots[index] = last;
    last.index = index;
    this.siftUp(index);
    this.siftDown(last.index);
  }

  private siftUp(start: number): void {
    const { slots } = this;
    let index = start;
    const moving = slots[index]!;
    while (index > 0) {
      const parentIndex = (index - 1) >> 2;
      const parent = slots[parentIndex]!;
      if (!before(moving, parent)) break;
      slots[index] = parent;
      parent.index = index;
      index = parentIndex;
    }
    slots[index] = moving;
    moving.index = index;
  }

  private siftDown(start: number): void {
    const { slots } = this;
    let index = start;
    const moving = slots[index]!;
    for (;;) {
      const firstChild = 4 * index + 1;
      if (firstChild >= slots.length) break;
      let best = firstChild;
      const end = Math.min(firstChild + 4, slots.length);
      for (let child = firstChild + 1; child < end; child++) {
        if (before(slots[child]!, slots[best]!)) best = child;
      }
      const bestSlot = slots[best]!;
      if (!before(bestSlot, moving)) break;
      slots[index] = bestSlot;
      bestSlot.index = index;
      index = best;
    }
    slots[index] = moving;
    moving.index = index;
  }
}

function before<T>(a: Slot<T>, b: Slot<T>): boolean {
  return a.key < b.key || (a.key === b.key && a.sequence < b.sequence);
}
