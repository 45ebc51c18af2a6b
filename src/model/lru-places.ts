import { FreePlaces } from './flat.js';
import { LruMap } from './lru-map.js';

/** No place: the key is not known. */
export const NO_PLACE = -1;

/**
 * Gives each of the keys used last a place: a small number, by which whoever keeps something of them finds it in flat arrays. What is kept of thousands of
 * workflows that way is nothing to the garbage collector, which would otherwise have to move an object and its numbers for each of them, twice.
 */
export class LruPlaces<K extends string | number> {
  private readonly places: LruMap<K, number>;
  private readonly free = new FreePlaces();

  /** @param onEvicted Is told of a key that had to leave for another one, before its place is used again. */
  constructor(
    maxSize: number,
    private readonly onEvicted: (place: number, key: K) => void = () => undefined,
  ) {
    this.places = new LruMap(maxSize);
  }

  get size(): number {
    return this.places.size;
  }

  /** The place of the key, which becomes the most recently used; {@link NO_PLACE} where it is not known. */
  get(key: K): number {
    return this.places.get(key) ?? NO_PLACE;
  }

  /** The same, without touching its place in the order. */
  peek(key: K): number {
    return this.places.peek(key) ?? NO_PLACE;
  }

  /** Takes a place for a key that is not known. */
  add(key: K): number {
    const { places, free } = this;
    const place = free.take();
    const evicted = places.set(key, place);
    if (evicted) {
      this.onEvicted(evicted[1], evicted[0]);
      free.give(evicted[1]);
    }
    return place;
  }

  /** Forgets the key; returns the place that it had. */
  delete(key: K): number {
    const place = this.peek(key);
    if (place === NO_PLACE) return NO_PLACE;
    this.places.delete(key);
    this.free.give(place);
    return place;
  }
}
