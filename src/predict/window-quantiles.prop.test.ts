import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WindowQuantiles } from './window-quantiles.js';

describe('WindowQuantiles', () => {
  it('equals sorting the last observations', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }),
        (values, capacity, q, looks) => {
          const window = new WindowQuantiles(capacity);
          for (const [index, value] of values.entries()) {
            window.add(value);
            // However many values come between two looks.
            if (looks[index % looks.length]) window.quantile(q);
          }
          const kept = values.slice(-capacity).sort((a, b) => a - b);
          const position = q * (kept.length - 1);
          const low = kept[Math.floor(position)]!;
          const high = kept[Math.ceil(position)]!;
          expect(window.count).toBe(kept.length);
          expect(window.quantile(q)).toBeCloseTo(low + (position - Math.floor(position)) * (high - low), 9);
          expect(window.mean).toBeCloseTo(kept.reduce((sum, value) => sum + value, 0) / kept.length, 6);
        },
      ),
    );
  });
});
