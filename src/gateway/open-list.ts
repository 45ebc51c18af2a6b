/** Something that remembers its own place in an {@link OpenList}. */
export interface Listed {
  slot: number;
}

/**
 * What is open now, to be walked over and counted. An array whose members know their place: unlike a `Set`, adding and removing at a high
 * rate leaves no discarded tables behind, which would keep closed requests alive until a full garbage collection.
 */
export class OpenList<T extends Listed> {
  private readonly items: T[] = [];

  get size(): number {
    return this.items.length;
  }

  add(item: T): void {
    item.slot = this.items.length;
    this.items.push(item);
  }

  /** Removes an item that is in the list; others may change their order. */
  remove(item: T): void {
    const last = this.items.pop();
    if (last === undefined || last === item) return;
    this.items[item.slot] = last;
    last.slot = item.slot;
  }

  /** A copy, which may be walked over while items come and go. */
  toArray(): T[] {
    return [...this.items];
  }
}
