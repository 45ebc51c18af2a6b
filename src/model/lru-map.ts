/** Entries that there is room for at first; doubled whenever it is used up. */
const FIRST_ROOM = 8;

/** More neighbours than chance brings together in a table that is half full: somebody has chosen keys of one hash. */
const MOST_NEIGHBOURS = 128;

/** Entries found lately, by a few characters of their keys: most keys are asked for several times in a row, and hashing one costs more than comparing it. */
const LATELY = 64;

/** No entry: an end of the order, or an empty place of the table. */
const NONE = -1;

/**
 * A map that holds at most `maxSize` entries and drops the least recently used one when another comes. Everything that learns
 * from names in requests lives in one, so that a client who invents names cannot make a process grow.
 *
 * All of it lies in a few flat arrays, which are used again: at a steady size nothing is allocated. A `Map` under the same coming and going makes a new
 * table every few thousand entries, and its look-ups touch a key in cold memory for every entry of a chain; here the hashes are compared first, which lie
 * side by side. The table is probed linearly, at most half full; where too many hashes fall together, all are made anew. The order is a list linked by
 * numbers of entries.
 */
export class LruMap<K extends string | number, V> {
  private readonly keys: (K | undefined)[] = [];
  private readonly values: (V | undefined)[] = [];
  private hashes = new Int32Array(FIRST_ROOM);
  /** Neighbours in the order of use; of entries that are free, `newer` is the next free one. */
  private older = new Int32Array(FIRST_ROOM);
  private newer = new Int32Array(FIRST_ROOM);
  /** Entries by hash. */
  private table = new Int32Array(2 * FIRST_ROOM).fill(NONE);
  private readonly lately = new Int32Array(LATELY);
  private oldestEntry = NONE;
  private newestEntry = NONE;
  private freeEntry = NONE;
  private count = 0;
  private seed = 0x811c9dc5;
  /** The key that was hashed last: who finds nothing under a key mostly sets it next. */
  private hashedKey: K | undefined;
  private hashed = 0;

  constructor(readonly maxSize: number) {}

  get size(): number {
    return this.count;
  }

  /** The value, which becomes the most recently used. */
  get(key: K): V | undefined {
    const entry = this.look(key);
    if (entry === NONE) return undefined;
    this.touch(entry);
    return this.values[entry];
  }

  /** The value, without touching its place in the order. */
  peek(key: K): V | undefined {
    const entry = this.look(key);
    return entry === NONE ? undefined : this.values[entry];
  }

  /** Stores the value as the most recently used; returns the key and value that had to leave, if any. */
  set(key: K, value: V): readonly [K, V] | undefined {
    const known = this.look(key);
    if (known !== NONE) {
      this.values[known] = value;
      this.touch(known);
      return undefined;
    }
    this.insert(key, value, this.hash(key));
    if (this.count <= this.maxSize) return undefined;
    const oldest = this.oldest();
    this.remove(this.oldestEntry);
    return oldest;
  }

  delete(key: K): boolean {
    const entry = this.look(key);
    if (entry === NONE) return false;
    this.remove(entry);
    return true;
  }

  /** The least recently used entry. */
  oldest(): readonly [K, V] | undefined {
    const entry = this.oldestEntry;
    return entry === NONE ? undefined : [this.keys[entry] as K, this.values[entry] as V];
  }

  /** All entries, least recently used first. */
  *[Symbol.iterator](): IterableIterator<[K, V]> {
    for (let entry = this.oldestEntry; entry !== NONE; entry = this.newer[entry]!) {
      yield [this.keys[entry] as K, this.values[entry] as V];
    }
  }

  /** The entry of the key, or {@link NONE}. */
  private look(key: K): number {
    if (this.count === 0) return NONE;
    const slot = slotOf(key);
    const lately = this.lately[slot]!;
    if (this.keys[lately] === key) return lately;
    const entry = this.find(key, this.hash(key));
    if (entry !== NONE) this.lately[slot] = entry;
    return entry;
  }

  private hash(key: K): number {
    if (key !== this.hashedKey) {
      this.hashed = hashOf(key, this.seed);
      this.hashedKey = key;
    }
    return this.hashed;
  }

  private find(key: K, hash: number): number {
    const { table, hashes, keys } = this;
    const mask = table.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const entry = table[place]!;
      if (entry === NONE || (hashes[entry] === hash && keys[entry] === key)) return entry;
    }
  }

  private insert(key: K, value: V, hash: number): void {
    let entry = this.freeEntry;
    if (entry !== NONE) this.freeEntry = this.newer[entry]!;
    else {
      entry = this.keys.length;
      if (entry === this.hashes.length) this.grow();
    }
    this.keys[entry] = key;
    this.values[entry] = value;
    this.hashes[entry] = hash;
    if (this.enter(entry) > MOST_NEIGHBOURS) this.hashAnew();
    this.append(entry);
    this.lately[slotOf(key)] = entry;
    this.count += 1;
  }

  private remove(entry: number): void {
    this.leave(entry);
    this.unlink(entry);
    this.keys[entry] = undefined;
    this.values[entry] = undefined;
    this.newer[entry] = this.freeEntry;
    this.freeEntry = entry;
    this.count -= 1;
  }

  /** Puts the entry where its hash says, or after those that stand there; returns how many these are. */
  private enter(entry: number): number {
    const { table } = this;
    const mask = table.length - 1;
    const home = this.hashes[entry]! & mask;
    let place = home;
    while (table[place] !== NONE) place = (place + 1) & mask;
    table[place] = entry;
    return (place - home) & mask;
  }

  /** Takes the entry out of the table. What had been pushed past it moves back, so that no search ends early. */
  private leave(entry: number): void {
    const { table, hashes } = this;
    const mask = table.length - 1;
    let hole = hashes[entry]! & mask;
    while (table[hole] !== entry) hole = (hole + 1) & mask;
    for (let next = (hole + 1) & mask; table[next] !== NONE; next = (next + 1) & mask) {
      const home = hashes[table[next]!]! & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      table[hole] = table[next]!;
      hole = next;
    }
    table[hole] = NONE;
  }

  private grow(): void {
    const room = 2 * this.hashes.length;
    this.hashes = enlarged(this.hashes, room);
    this.older = enlarged(this.older, room);
    this.newer = enlarged(this.newer, room);
    this.table = new Int32Array(2 * room).fill(NONE);
    // Room is made only when no entry is free.
    for (let entry = 0; entry < this.keys.length; entry++) this.enter(entry);
  }

  /** Hashes that differ from those that were known: keys that fell together fall apart. */
  private hashAnew(): void {
    this.seed = Math.imul(this.seed, 0x01000193) + 1;
    this.hashedKey = undefined;
    this.table.fill(NONE);
    this.keys.forEach((key, entry) => {
      if (key === undefined) return;
      this.hashes[entry] = hashOf(key, this.seed);
      this.enter(entry);
    });
  }

  private touch(entry: number): void {
    if (entry === this.newestEntry) return;
    this.unlink(entry);
    this.append(entry);
  }

  private append(entry: number): void {
    const { newestEntry } = this;
    this.older[entry] = newestEntry;
    this.newer[entry] = NONE;
    if (newestEntry === NONE) this.oldestEntry = entry;
    else this.newer[newestEntry] = entry;
    this.newestEntry = entry;
  }

  private unlink(entry: number): void {
    const older = this.older[entry]!;
    const newer = this.newer[entry]!;
    if (older === NONE) this.oldestEntry = newer;
    else this.newer[older] = newer;
    if (newer === NONE) this.newestEntry = older;
    else this.older[newer] = older;
  }
}

function enlarged(numbers: Int32Array, room: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(room);
  larger.set(numbers);
  return larger;
}

function slotOf(key: string | number): number {
  if (typeof key === 'number') return key & (LATELY - 1);
  const { length } = key;
  // An empty key has no last character: NaN, which is 0 among bits.
  return (31 * length + 7 * key.charCodeAt(length >> 1) + key.charCodeAt(length - 1)) & (LATELY - 1);
}

/** FNV-1a over the characters, or the halves of a whole number below 2^53; mixed well enough for linear probing. */
function hashOf(key: string | number, seed: number): number {
  let hash = seed;
  if (typeof key === 'string') {
    for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  } else {
    hash = Math.imul(hash ^ key, 0x85ebca77);
    hash = Math.imul(hash ^ (key / 2 ** 32), 0xc2b2ae3d);
  }
  return (hash ^ (hash >>> 15)) | 0;
}
