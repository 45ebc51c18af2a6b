import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WallClock } from './wall-clock.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

it('runs as fast as its scale', () => {
  const clock = new WallClock(10);
  const startMs = clock.nowMs();
  const fired: number[] = [];
  clock.after(1000, () => fired.push(clock.nowMs() - startMs));
  clock.after(500, () => fired.push(-1)).cancel();
  vi.advanceTimersByTime(99);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(fired).toEqual([1000]);
});

it('waits longer than one timer of Node can', () => {
  const clock = new WallClock();
  let fired = 0;
  const delayMs = 60 * 24 * 3_600_000;
  clock.after(delayMs, () => fired++);
  const cancelled = clock.after(delayMs, () => fired++);
  vi.advanceTimersByTime(delayMs / 2);
  cancelled.cancel();
  vi.advanceTimersByTime(delayMs / 2 - 1);
  expect(fired).toBe(0);
  vi.advanceTimersByTime(1);
  expect(fired).toBe(1);
});

it('refuses a scale that is no speed', () => {
  for (const scale of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => new WallClock(scale)).toThrow(/scale/);
});
