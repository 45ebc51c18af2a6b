/**
 * A map that holds at most `maxSize` entries and drops the least recently used one when another comes. Everything that learns
 * from names in requests lives in one, so that a client who invents names cannot make a process grow.
 */
export class LruMap<K, V> {
  private readonly entries = new Map<K, V>();

  constructor(readonly maxSize: number) {}

  get size(): number {
    return this.entries.size;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const value = this.entries.get(key);
    if (value === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, value);
    return value;
  }

  /** The value, without touching its place in the order. */
  peek(key: K): V | undefined {
    return this.entries.get(key);
  }

  /** Stores the value as the most recently used; returns the key and value that had to leave, if any. */
  set(key: K, value: V): readonly [K, V] | undefined {
    this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size <= this.maxSize) return undefined;
    for (const oldest of this.entries) {
      this.entries.delete(oldest[0]);
      return oldest;
    }
    return undefined;
  }

  delete(key: K): boolean {
    return this.entries.delete(key);
  }

  /** The least recently used entry. */
  oldest(): readonly [K, V] | undefined {
    for (const entry of this.entries) return entry;
    return undefined;
  }

  /** All entries, least recently used first. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.entries[Symbol.iterator]();
  }
}
