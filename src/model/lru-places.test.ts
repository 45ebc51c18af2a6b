import { expect, it } from 'vitest';
import { LruMap } from './lru-map.js';
import { LruPlaces, NO_PLACE } from './lru-places.js';
import { nextInt, SeededRng } from './rng.js';

it('knows the keys that a map of the same size would, each at a place of its own, of one more than these', () => {
  const rng = new SeededRng(3);
  const reference = new LruMap<string, true>(20);
  const evicted: string[] = [];
  const placeOf = new Map<string, number>();
  const places = new LruPlaces<string>(20, (place, key) => {
    evicted.push(key);
    expect(placeOf.get(key)).toBe(place);
  });
  for (let step = 0; step < 5_000; step++) {
    const key = `k${nextInt(rng, 40)}`;
    if (rng.next() < 0.2) {
      expect(places.delete(key) !== NO_PLACE).toBe(reference.delete(key));
    } else if (reference.get(key)) {
      expect(places.get(key)).not.toBe(NO_PLACE);
    } else {
      expect(places.get(key)).toBe(NO_PLACE);
      placeOf.set(key, places.add(key));
      const left = reference.set(key, true);
      expect(evicted.splice(0)).toEqual(left ? [left[0]] : []);
    }
    const taken = [...reference].map(([known]) => places.peek(known));
    expect(new Set(taken).size).toBe(reference.size);
    expect(taken.every((place) => place >= 0 && place <= 20)).toBe(true);
    expect(places.size).toBe(reference.size);
  }
});
