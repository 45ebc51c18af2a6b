import { expect, it } from 'vitest';
import { ManualClock } from '../model/clock.js';
import { EarliestTimer } from './earliest-timer.js';

it('fires once at the earliest of the times that it is given, and can then be set anew', () => {
  const clock = new ManualClock(100);
  const fired: number[] = [];
  const timer = new EarliestTimer(clock, () => fired.push(clock.nowMs()));
  expect(timer.dueMs).toBe(Number.POSITIVE_INFINITY);
  for (const atMs of [300, 200, 250, Number.POSITIVE_INFINITY]) timer.by(atMs, 100);
  expect(timer.dueMs).toBe(200);
  clock.advance(400);
  expect(fired).toEqual([200]);
  expect(timer.dueMs).toBe(Number.POSITIVE_INFINITY);
  timer.by(600, 500);
  clock.advance(100);
  expect(fired).toEqual([200, 600]);
});

it('does not fire when it is cancelled', () => {
  const clock = new ManualClock();
  const fired: number[] = [];
  const timer = new EarliestTimer(clock, () => fired.push(clock.nowMs()));
  timer.by(100, 0);
  timer.cancel();
  clock.advance(1_000);
  expect(fired).toEqual([]);
});
