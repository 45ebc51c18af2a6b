interface Link<K, V> {
  readonly key: K;
  value: V;
  older: Link<K, V> | undefined;
  newer: Link<K, V> | undefined;
}

/**
 * A map that holds at most `maxSize` entries and drops the least recently used one when another comes. Everything that learns
 * from names in requests lives in one, so that a client who invents names cannot make a process grow.
 *
 * The order is a linked list, so that a look-up moves two pointers and leaves the index alone: deleting and setting again, as the
 * insertion order of a `Map` would want it, fills the index with graves and makes every look-up a write.
 */
export class LruMap<K, V> {
  private readonly links = new Map<K, Link<K, V>>();
  private oldestLink: Link<K, V> | undefined;
  private newestLink: Link<K, V> | undefined;

  constructor(readonly maxSize: number) {}

  get size(): number {
    return this.links.size;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const link = this.links.get(key);
    if (!link) return undefined;
    this.touch(link);
    return link.value;
  }

  /** The value, without touching its place in the order. */
  peek(key: K): V | undefined {
    return this.links.get(key)?.value;
  }

  /** Stores the value as the most recently used; returns the key and value that had to leave, if any. */
  set(key: K, value: V): readonly [K, V] | undefined {
    const known = this.links.get(key);
    if (known) {
      known.value = value;
      this.touch(known);
      return undefined;
    }
    const link: Link<K, V> = { key, value, older: undefined, newer: undefined };
    this.links.set(key, link);
    this.append(link);
    const oldest = this.oldestLink!;
    if (this.links.size <= this.maxSize) return undefined;
    this.delete(oldest.key);
    return [oldest.key, oldest.value];
  }

  delete(key: K): boolean {
    const link = this.links.get(key);
    if (!link) return false;
    this.links.delete(key);
    this.unlink(link);
    return true;
  }

  /** The least recently used entry. */
  oldest(): readonly [K, V] | undefined {
    return this.oldestLink && [this.oldestLink.key, this.oldestLink.value];
  }

  /** All entries, least recently used first. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    for (let link = this.oldestLink; link; link = link.newer) yield [link.key, link.value];
  }

  private touch(link: Link<K, V>): void {
    if (link === this.newestLink) return;
    this.unlink(link);
    this.append(link);
  }

  private append(link: Link<K, V>): void {
    link.older = this.newestLink;
    if (this.newestLink) this.newestLink.newer = link;
    else this.oldestLink = link;
    this.newestLink = link;
  }

  private unlink(link: Link<K, V>): void {
    if (link.older) link.older.newer = link.newer;
    else this.oldestLink = link.newer;
    if (link.newer) link.newer.older = link.older;
    else this.newestLink = link.older;
    link.older = undefined;
    link.newer = undefined;
  }
}
