import { stringHash } from './string-hash.js';

/**
 * A map from strings for what comes and goes with every request. It reuses its slots: at a steady size it allocates nothing, and a
 * deleted value is unreachable at once. A `Map` under the same churn makes a new table every few entries, and the discarded
 * tables, once in the old generation, keep closed requests alive until a full collection; that was a third of the CPU of a request.
 * Linear probing, at most half full, with deletion by shifting back.
 */
export class ChurnMap<V> {
  private keys: (string | undefined)[];
  private slots: (V | undefined)[];
  /** Of the key at the same place. Compared first: a key itself lies wherever it was made, mostly in cold memory. */
  private hashes: Int32Array;
  private mask: number;
  private count = 0;

  /** @param capacity Slots to begin with, a power of two. */
  constructor(capacity = 64) {
    this.keys = new Array<string | undefined>(capacity).fill(undefined);
    this.slots = new Array<V | undefined>(capacity).fill(undefined);
    this.hashes = new Int32Array(capacity);
    this.mask = capacity - 1;
  }

  get size(): number {
    return this.count;
  }

  get(key: string): V | undefined {
    return this.slots[this.find(key)];
  }

  has(key: string): boolean {
    return this.keys[this.find(key)] !== undefined;
  }

  set(key: string, value: V): void {
    let index = this.find(key);
    if (this.keys[index] === undefined) {
      if (2 * (this.count + 1) > this.keys.length) {
        this.grow();
        index = this.find(key);
      }
      this.keys[index] = key;
      this.hashes[index] = stringHash(key);
      this.count += 1;
    }
    this.slots[index] = value;
  }

  delete(key: string): boolean {
    let hole = this.find(key);
    if (this.keys[hole] === undefined) return false;
    // Whatever was pushed past the hole by a collision moves back, so that no search ends early.
    for (let next = (hole + 1) & this.mask; this.keys[next] !== undefined; next = (next + 1) & this.mask) {
      const home = this.hashes[next]! & this.mask;
      if (((next - home) & this.mask) < ((next - hole) & this.mask)) continue;
      this.keys[hole] = this.keys[next];
      this.slots[hole] = this.slots[next];
      this.hashes[hole] = this.hashes[next]!;
      hole = next;
    }
    this.keys[hole] = undefined;
    this.slots[hole] = undefined;
    this.count -= 1;
    return true;
  }

  /** All values, in no particular order. The map must not change meanwhile. */
  *values(): IterableIterator<V> {
    for (let index = 0; index < this.keys.length; index++) {
      if (this.keys[index] !== undefined) yield this.slots[index] as V;
    }
  }

  /** All entries, in no particular order. The map must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<[string, V]> {
    for (let index = 0; index < this.keys.length; index++) {
      const key = this.keys[index];
      if (key !== undefined) yield [key, this.slots[index] as V];
    }
  }

  /** The slot of the key, or the empty one where it would stand. */
  private find(key: string): number {
    const { keys, hashes, mask } = this;
    const hash = stringHash(key);
    let index = hash & mask;
    for (let found = keys[index]; found !== undefined; found = keys[index]) {
      if (hashes[index] === hash && found === key) break;
      index = (index + 1) & mask;
    }
    return index;
  }

  private grow(): void {
    const { keys, slots, hashes } = this;
    this.keys = new Array<string | undefined>(2 * keys.length).fill(undefined);
    this.slots = new Array<V | undefined>(2 * slots.length).fill(undefined);
    this.hashes = new Int32Array(2 * hashes.length);
    this.mask = this.keys.length - 1;
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index];
      if (key === undefined) continue;
      let home = hashes[index]! & this.mask;
      while (this.keys[home] !== undefined) home = (home + 1) & this.mask;
      this.keys[home] = key;
      this.slots[home] = slots[index];
      this.hashes[home] = hashes[index]!;
    }
  }
}
