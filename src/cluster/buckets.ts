interface Slot {
  bucket: number;
  index: number;
}

/**
 * Items sorted roughly, into a fixed number of buckets: adding, moving and removing one costs constant time, and the lowest few are
 * found without looking at the others. Within a bucket the order is arbitrary (but a function of the calls made).
 */
export class Buckets<T> {
  private readonly buckets: T[][];
  private readonly slots = new Map<T, Slot>();

  constructor(count: number) {
    this.buckets = Array.from({ length: count }, () => []);
  }

  get size(): number {
    return this.slots.size;
  }

  /** Puts the item into a bucket, or moves it there; a number out of range means the nearest bucket. */
  put(item: T, bucket: number): void {
    const target = Math.max(0, Math.min(this.buckets.length - 1, Math.floor(bucket)));
    const slot = this.slots.get(item);
    if (slot?.bucket === target) return;
    const list = this.buckets[target]!;
    if (slot) {
      this.take(slot);
      slot.bucket = target;
      slot.index = list.length;
    } else this.slots.set(item, { bucket: target, index: list.length });
    list.push(item);
  }

  remove(item: T): void {
    if (this.slots.size === 0) return;
    const slot = this.slots.get(item);
    if (!slot) return;
    this.take(slot);
    this.slots.delete(item);
  }

  /** Shows items from the lowest bucket up until `visit` returns true; returns the item at which it did. */
  find(visit: (item: T) => boolean): T | undefined {
    if (this.slots.size === 0) return undefined;
    const { buckets } = this;
    for (let bucket = 0; bucket < buckets.length; bucket++) {
      const list = buckets[bucket]!;
      for (let index = 0; index < list.length; index++) if (visit(list[index]!)) return list[index];
    }
    return undefined;
  }

  private take({ bucket, index }: Slot): void {
    const list = this.buckets[bucket]!;
    const last = list.pop()!;
    if (index === list.length) return;
    list[index] = last;
    this.slots.get(last)!.index = index;
  }
}
