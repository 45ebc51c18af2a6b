import { describe, expect, it } from 'vitest';
import { GB, GiB } from '../model/units.js';
import { MoveDurations } from './durations.js';
import { testEngine } from './node-fixture.js';

/** 30 GiB, which take 16 s to pin at what is assumed. */
const SPEC = testEngine('a');

describe('MoveDurations', () => {
  it('takes the first level-1 sleep of a process for as slow as another of this host was seen to be', () => {
    const host = { bytesPerMs: undefined };
    const [first, second] = [
      new MoveDurations(SPEC, host),
      new MoveDurations(testEngine('b', { weightGiB: 15 }), host),
    ];
    expect(second.sleepMs(1)).toBeCloseTo((15 * GiB) / ((2 * GB) / 1000));
    // A real H200 machine: 25.6 s for 27.5 GiB.
    first.slept(1, 28_000);
    expect(second.sleepMs(1)).toBeCloseTo(14_000);
    expect(first.sleepMs(1)).toBeLessThan(2_000);
  });

  it('is none the wiser by an engine of unknown size, or by a sleep that took no time', () => {
    const host = { bytesPerMs: undefined };
    const unknown = new MoveDurations(testEngine('a', { weightGiB: 0 }), host);
    expect(unknown.dropsFirst('disk')).toBe(false);
    unknown.slept(1, 5_000);
    new MoveDurations(SPEC, host).slept(1, 0);
    expect(host.bytesPerMs).toBeUndefined();
  });

  it('would drop the weights of a process that has never slept while that is cheaper, the reloads so far counted', () => {
    const durations = new MoveDurations(SPEC);
    expect(durations.dropsFirst('disk')).toBe(true);
    durations.dropped('disk');
    durations.dropped('disk');
    expect(durations.dropsFirst('disk')).toBe(false);
    durations.started(0, false);
    expect(durations.dropsFirst('disk')).toBe(true);
    // Its reloads were seen to be slower than pinning.
    durations.woke(2, 'disk', 40_000);
    expect(durations.dropsFirst('disk')).toBe(false);
    expect(durations.dropsFirst('host')).toBe(true);
    durations.started(0, true);
    expect(durations.dropsFirst('host')).toBe(false);
  });
});
