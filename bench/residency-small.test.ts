import { describe, expect, it } from 'vitest';
import { leastWaitMs, plannedWaitMs, playSmall, type SmallVariant, smallCase } from './residency-small.js';

const VARIANTS: readonly SmallVariant[] = [
  {},
  { placement: 'least-loaded', node: { weights: 'lru', prefetch: false, retention: 'none', elasticKv: false } },
  { node: { weights: 'oracle-residency', prefetch: false } },
  { minResidencyMs: 1_000 },
];

describe('small cases', () => {
  it('are played by no policy with less waiting than the least, nor is the best plan without foresight', () => {
    let longer = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const small = smallCase(seed);
      const waits = VARIANTS.map((variant) => playSmall(small, variant).waitMs);
      // Infinity where a policy waited less.
      const leastMs = leastWaitMs(small, Math.min(...waits));
      expect(leastMs).toBeLessThan(Number.POSITIVE_INFINITY);
      expect(plannedWaitMs(small)).toBeGreaterThanOrEqual(leastMs - 1e-6);
      longer += waits.filter((waitMs) => waitMs > 1.5 * leastMs).length;
    }
    expect(longer).toBeGreaterThan(12);
  });

  it('have three to six models of which not all fit, and are the same for the same seed', () => {
    const small = smallCase(7);
    expect(smallCase(7)).toEqual(small);
    expect(small.workflows).toHaveLength(24);
    const counts = Array.from({ length: 40 }, (_, seed) => smallCase(seed + 1).fleet.match(/- \{ id: \S+,/g)!.length);
    expect(Math.min(...counts)).toBe(3);
    expect(Math.max(...counts)).toBe(6);
  });
});
