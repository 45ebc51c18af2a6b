import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { downsample, dropRepeats, type Point } from './downsample.js';
import { linearScale, logScale, niceTicks, timeTicks } from './scale.js';

const bound = fc.double({ min: -1e7, max: 1e7, noNaN: true });
const length = fc.double({ min: 1e-3, max: 1e7, noNaN: true });

describe('ticks', () => {
  it.each([
    ['niceTicks', niceTicks],
    ['timeTicks', timeTicks],
  ])('%s stay inside, ascend evenly, and are neither many nor none', (_name, ticksOf) => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e6, noNaN: true }),
        length,
        fc.integer({ min: 3, max: 12 }),
        (min, size, count) => {
          const max = min + size;
          const ticks = ticksOf(min, max, count);
          const slack = 1e-6 * Math.max(1, max);
          expect(ticks.length).toBeGreaterThanOrEqual(1);
          expect(ticks.length).toBeLessThanOrEqual(count * 2 + 2);
          for (const tick of ticks) {
            expect(tick).toBeGreaterThanOrEqual(min - slack);
            expect(tick).toBeLessThanOrEqual(max + slack);
          }
          const gaps = ticks.slice(1).map((tick, index) => tick - ticks[index]!);
          for (const gap of gaps) expect(gap).toBeCloseTo(gaps[0]!, 3);
        },
      ),
    );
  });

  it('are numbers that people write', () => {
    expect(niceTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(niceTicks(0, 0.3, 3)).toEqual([0, 0.1, 0.2, 0.3]);
    expect(niceTicks(-30, 95, 5)).toEqual([-20, 0, 20, 40, 60, 80]);
    expect(timeTicks(0, 60_000, 4)).toEqual([0, 15_000, 30_000, 45_000, 60_000]);
    expect(timeTicks(0, 3_600_000, 6)).toEqual([0, 1, 2, 3, 4, 5, 6].map((tens) => tens * 600_000));
    expect(timeTicks(0, 250, 5)).toEqual([0, 50, 100, 150, 200, 250]);
  });
});

describe('scales', () => {
  it('linear: keep order, map the ends to the ends and hold everything inside', () => {
    fc.assert(
      fc.property(bound, length, bound, bound, (min, size, a, b) => {
        const scale = linearScale([min, min + size], [10, 510]);
        const [low, high] = a < b ? [a, b] : [b, a];
        expect(scale.at(scale.min)).toBeCloseTo(10, 6);
        expect(scale.at(scale.max)).toBeCloseTo(510, 6);
        expect(scale.at(low)).toBeLessThanOrEqual(scale.at(high));
        expect(scale.at(low)).toBeGreaterThanOrEqual(10 - 1e-6);
        expect(scale.at(high)).toBeLessThanOrEqual(510 + 1e-6);
      }),
    );
  });

  it('logarithmic: cover the domain, keep order and have ticks inside', () => {
    const positive = fc.double({ min: 1e-4, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(positive, positive, (a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const scale = logScale([low, high], [0, 100]);
        expect(scale.min).toBeLessThanOrEqual(low);
        expect(scale.max).toBeGreaterThanOrEqual(high);
        expect(scale.at(low)).toBeLessThanOrEqual(scale.at(high));
        expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
        for (const tick of scale.ticks) {
          expect(tick).toBeGreaterThanOrEqual(scale.min);
          expect(tick).toBeLessThanOrEqual(scale.max);
        }
      }),
    );
  });

  it('take a domain without length', () => {
    expect(linearScale([5, 5], [0, 100]).at(5)).toBe(0);
    const log = logScale([20, 20], [0, 100]);
    expect(log.min).toBe(20);
    expect(log.max).toBe(50);
  });
});

describe('downsample', () => {
  const line = fc
    .array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 400 })
    .map((heights) => heights.map((y, x): Point => ({ x, y })));

  it('keeps the ends, the peak and the trough, invents nothing and obeys the limit', () => {
    fc.assert(
      fc.property(line, fc.integer({ min: 8, max: 80 }), (points, limit) => {
        const kept = downsample(points, limit);
        expect(kept.length).toBeLessThanOrEqual(limit + 4);
        expect(kept[0]).toEqual(points[0]);
        expect(kept.at(-1)).toEqual(points.at(-1));
        const heights = points.map(({ y }) => y);
        const keptHeights = kept.map(({ y }) => y);
        expect(Math.max(...keptHeights)).toBe(Math.max(...heights));
        expect(Math.min(...keptHeights)).toBe(Math.min(...heights));
        kept.forEach((point, index) => {
          expect(points).toContain(point);
          if (index > 0) expect(point.x).toBeGreaterThan(kept[index - 1]!.x);
        });
      }),
    );
  });

  it('drops only points that change nothing', () => {
    fc.assert(
      fc.property(line, (points) => {
        const kept = dropRepeats(points);
        const heightAt = (some: readonly Point[], x: number) => some.findLast((point) => point.x <= x)?.y;
        for (const { x } of points) expect(heightAt(kept, x)).toBe(heightAt(points, x));
      }),
    );
  });

  it('marks a logarithmic axis of time as people count', () => {
    const scale = logScale([12_000, 700_000], [0, 100], { time: true, maxTicks: 8 });
    expect(scale.ticks).toEqual([10, 20, 30, 60, 120, 300, 600, 1200].map((seconds) => seconds * 1000));
    expect(logScale([500, 700_000], [0, 100], { time: true, maxTicks: 7 }).ticks).toEqual([
      1000, 10_000, 60_000, 600_000,
    ]);
  });
});
