interface Link<K, V> {
  readonly key: K;
  value: V;
  older: Link<K, V> | undefined;
  newer: Link<K, V> | undefined;
}

/** Up to so many entries a walk along the list is cheaper than an index. */
const SMALL = 8;

/**
 * A map that holds at most `maxSize` entries and drops the least recently used one when another comes. Everything that learns
 * from names in requests lives in one, so that a client who invents names cannot make a process grow.
 *
 * The index comes when the map outgrows a handful of entries: many maps of one or two entries (the roles of a workflow) are made and
 * thrown away with every workflow. The order is a linked list, so that a look-up moves two pointers and leaves the index alone: deleting and setting again, as the
 * insertion order of a `Map` would want it, fills the index with graves and makes every look-up a write.
 */
export class LruMap<K, V> {
  /** Undefined while the map is small enough to be searched along the list. */
  private links: Map<K, Link<K, V>> | undefined;
  private count = 0;
  private oldestLink: Link<K, V> | undefined;
  private newestLink: Link<K, V> | undefined;

  constructor(readonly maxSize: number) {}

  get size(): number {
    return this.count;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const link = this.find(key);
    if (!link) return undefined;
    this.touch(link);
    return link.value;
  }

  /** The value, without touching its place in the order. */
  peek(key: K): V | undefined {
    return this.find(key)?.value;
  }

  /** Stores the value as the most recently used; returns the key and value that had to leave, if any. */
  set(key: K, value: V): readonly [K, V] | undefined {
    const known = this.find(key);
    if (known) {
      known.value = value;
      this.touch(known);
      return undefined;
    }
    const link: Link<K, V> = { key, value, older: undefined, newer: undefined };
    this.append(link);
    this.count += 1;
    if (this.links) this.links.set(key, link);
    else if (this.count > SMALL) this.index();
    const oldest = this.oldestLink!;
    if (this.count <= this.maxSize) return undefined;
    this.delete(oldest.key);
    return [oldest.key, oldest.value];
  }

  delete(key: K): boolean {
    const link = this.find(key);
    if (!link) return false;
    this.links?.delete(key);
    this.count -= 1;
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

  private find(key: K): Link<K, V> | undefined {
    if (this.links) return this.links.get(key);
    for (let link = this.newestLink; link; link = link.older) if (link.key === key) return link;
    return undefined;
  }

  private index(): void {
    this.links = new Map();
    for (let link = this.oldestLink; link; link = link.newer) this.links.set(link.key, link);
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
