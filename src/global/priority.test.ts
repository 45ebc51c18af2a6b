import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RELEGATION_OFFSET_MS } from './order/relegation.js';
import { PriorityScale } from './priority.js';

describe('PriorityScale', () => {
  it('is monotone in the key and an int32, for moments and lengths of time, with any clock origin', () => {
    const keys = fc.double({ min: -1e13, max: 1e13, noNaN: true });
    fc.assert(
      fc.property(fc.constantFrom('instant' as const, 'duration' as const), keys, keys, keys, (unit, a, b, nowMs) => {
        const scale = new PriorityScale();
        const low = scale.priority(Math.min(a, b), unit, 'interactive', nowMs);
        const high = scale.priority(Math.max(a, b), unit, 'interactive', nowMs);
        expect(low).toBeLessThanOrEqual(high);
        const behind = scale.priority(Math.max(a, b), unit, 'batch', nowMs);
        for (const priority of [low, high, behind]) expect(priority | 0).toBe(priority);
      }),
    );
  });

  it('tells deadlines 10 ms apart, relegated stages and batch apart', () => {
    const scale = new PriorityScale();
    const nowMs = 1.7e12;
    const at = (offsetMs: number, kind: 'interactive' | 'batch' = 'interactive') =>
      scale.priority(nowMs + offsetMs, 'instant', kind, nowMs);
    const ordered = [at(0), at(10), at(3_600_000), at(RELEGATION_OFFSET_MS), at(RELEGATION_OFFSET_MS + 10)];
    expect(ordered).toEqual([...new Set(ordered)].sort((a, b) => a - b));
    expect(at(-1e9, 'batch')).toBeGreaterThan(at(RELEGATION_OFFSET_MS + 1e8));
  });

  it('keeps telling keys apart in a process that runs for years', () => {
    const scale = new PriorityScale();
    const dayMs = 86_400_000;
    for (let day = 0; day < 1000; day += 7) {
      const nowMs = day * dayMs;
      const soon = scale.priority(nowMs + 1_000, 'instant', 'interactive', nowMs);
      expect(scale.priority(nowMs + 2_000, 'instant', 'interactive', nowMs)).toBe(soon + 100);
    }
  });
});
