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

/** Keys that there is room for at first; doubled whenever it is used up. */
const FIRST_ROOM = 8;

/**
 * A 4-ary min-heap on a numeric key. Items with equal keys leave in the order in which they came (FIFO-stable), which the
 * simulator needs for byte-identical reruns. `push`, `pop`, `remove` and `rekey` cost log n. Keys stand side by side as well: what is
 * compared with is then not fetched from wherever an entry lies, which in a large fleet is cold memory.
 */
export class StableHeap<T> {
  private readonly slots: Slot<T>[] = [];
  /** The key of each slot, at its index. */
  private keys = new Float64Array(FIRST_ROOM);
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
    this.keys[slot.index] = key;
    this.siftUp(slot.index);
    this.siftDown(slot.index);
    return true;
  }

  private enter(slot: Slot<T>): void {
    const index = this.slots.length;
    if (index === this.keys.length) {
      const keys = new Float64Array(2 * index);
      keys.set(this.keys);
      this.keys = keys;
    }
    slot.sequence = this.sequence++;
    slot.index = index;
    this.slots.push(slot);
    this.keys[index] = slot.key;
    this.siftUp(index);
  }

  private removeAt(index: number): void {
    const removed = this.slots[index]!;
    const last = this.slots.pop()!;
    removed.index = -1;
    if (last === removed) return;
    this.slots[index] = last;
    this.keys[index] = this.keys[this.slots.length]!;
    last.index = index;
    this.siftUp(index);
    this.siftDown(last.index);
  }

  private siftUp(start: number): void {
    const { slots, keys } = this;
    let index = start;
    const moving = slots[index]!;
    const key = keys[index]!;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      if (!this.goesBefore(key, moving, parent)) break;
      this.move(parent, index);
      index = parent;
    }
    if (index !== start) this.place(moving, key, index);
  }

  private siftDown(start: number): void {
    const { slots, keys } = this;
    const { length } = slots;
    let index = start;
    const moving = slots[index]!;
    const key = keys[index]!;
    for (;;) {
      const firstChild = 4 * index + 1;
      if (firstChild >= length) break;
      let best = firstChild;
      const end = Math.min(firstChild + 4, length);
      for (let child = firstChild + 1; child < end; child++) {
        const childKey = keys[child]!;
        const bestKey = keys[best]!;
        if (childKey < bestKey || (childKey === bestKey && slots[child]!.sequence < slots[best]!.sequence))
          best = child;
      }
      if (this.goesBefore(key, moving, best)) break;
      this.move(best, index);
      index = best;
    }
    if (index !== start) this.place(moving, key, index);
  }

  /** Does the slot with this key leave before the one at `other`? */
  private goesBefore(key: number, slot: Slot<T>, other: number): boolean {
    const otherKey = this.keys[other]!;
    return key < otherKey || (key === otherKey && slot.sequence < this.slots[other]!.sequence);
  }

  private move(from: number, to: number): void {
    this.place(this.slots[from]!, this.keys[from]!, to);
  }

  private place(slot: Slot<T>, key: number, index: number): void {
    this.slots[index] = slot;
    this.keys[index] = key;
    slot.index = index;
  }
}
