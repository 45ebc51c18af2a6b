import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Buckets } from './buckets.js';

describe('Buckets', () => {
  it('holds every item in the bucket it was last put into, lowest first', () => {
    const moves = fc.array(
      fc.record({
        item: fc.integer({ min: 0, max: 9 }),
        bucket: fc.integer({ min: -2, max: 7 }),
        remove: fc.boolean(),
      }),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(moves, (steps) => {
        const buckets = new Buckets<number>(5);
        const expected = new Map<number, number>();
        for (const { item, bucket, remove } of steps) {
          if (remove) {
            buckets.remove(item);
            expected.delete(item);
          } else {
            buckets.put(item, bucket);
            expected.set(item, Math.max(0, Math.min(4, bucket)));
          }
        }
        const seen: number[] = [];
        expect(buckets.find((item) => seen.push(item) < 0)).toBeUndefined();
        expect([...seen].sort()).toEqual([...expected.keys()].sort());
        expect(seen.map((item) => expected.get(item)!)).toEqual([...expected.values()].sort((a, b) => a - b));
        expect(buckets.find(() => true)).toBe(seen[0]);
      }),
    );
  });
});
