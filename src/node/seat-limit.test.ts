import { describe, expect, it } from 'vitest';
import { SeatLimit } from './seat-limit.js';

const CONFIG = { stepMs: 1000, decrease: 0.5, lookAhead: 2 };

function reading(running: number, waiting: number, preemptionsTotal = 0) {
  return { running, waiting, preemptionsTotal, kvUsage: 0 };
}

describe('SeatLimit', () => {
  it('is the specification until the counters teach otherwise', () => {
    expect(new SeatLimit({ seats: 8 }, CONFIG).seats).toBe(8);
    const unknown = new SeatLimit({ seats: Number.POSITIVE_INFINITY }, CONFIG);
    unknown.observe(reading(40, 0), 40, 0);
    expect(unknown.seats).toBe(Number.POSITIVE_INFINITY);
  });

  it('follows the mix of calls that come, and what the counters have taught below it', () => {
    const mix = { seats: 8 };
    const limit = new SeatLimit(mix, CONFIG);
    mix.seats = 40;
    expect(limit.seats).toBe(40);
    limit.observe(reading(40, 0, 0), 40, 0);
    limit.observe(reading(40, 0, 1), 40, 1);
    expect(limit.seats).toBe(20);
    limit.observe(reading(20, 0, 1), 20, 2000);
    expect(limit.seats).toBe(21);
    mix.seats = 3;
    expect(limit.seats).toBe(3);
  });

  it('learns the number running when requests keep waiting and no more of them run', () => {
    const limit = new SeatLimit({ seats: Number.POSITIVE_INFINITY }, CONFIG);
    limit.observe(reading(4, 9), 13, 0);
    expect(limit.seats).toBe(Number.POSITIVE_INFINITY);
    limit.observe(reading(4, 9), 13, 100);
    expect(limit.seats).toBe(4);
  });

  it('learns nothing from a burst that is still being admitted, nor from our own look-ahead', () => {
    const limit = new SeatLimit({ seats: Number.POSITIVE_INFINITY }, CONFIG);
    for (let running = 1; running < 10; running++) limit.observe(reading(running, 9), 20, running * 2000);
    for (let time = 0; time < 5; time++) limit.observe(reading(10, 2), 12, 30_000 + time * 2000);
    expect(limit.seats).toBe(Number.POSITIVE_INFINITY);
  });

  it('falls by its factor on preemptions, once a step, and counts only new ones', () => {
    const limit = new SeatLimit({ seats: 16 }, CONFIG);
    expect(limit.observe(reading(16, 0, 7), 16, 0)).toBe(0);
    expect(limit.observe(reading(16, 0, 9), 16, 10)).toBe(2);
    expect(limit.seats).toBe(8);
    limit.observe(reading(16, 0, 12), 16, 20);
    expect(limit.seats).toBe(8);
    // The counter of a restarted process begins again at zero.
    expect(limit.observe(reading(0, 0, 0), 0, 5000)).toBe(0);
  });

  it('probes up again while the limit binds, up to the specification', () => {
    const limit = new SeatLimit({ seats: 5 }, CONFIG);
    limit.observe(reading(4, 0, 0), 4, 0);
    limit.observe(reading(4, 0, 1), 4, 1);
    expect(limit.seats).toBe(2);
    limit.observe(reading(1, 0, 1), 1, 2000);
    expect(limit.seats).toBe(2);
    for (let step = 3; step < 20; step++) limit.observe(reading(2, 0, 1), 9, step * 2000);
    expect(limit.seats).toBe(5);
  });

  it('never falls below one seat', () => {
    const limit = new SeatLimit({ seats: 4 }, CONFIG);
    for (let step = 0; step < 10; step++) limit.observe(reading(1, 0, step), 1, step * 2000);
    expect(limit.seats).toBe(1);
  });
});
