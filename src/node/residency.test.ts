import { describe, expect, it } from 'vitest';
import type { FoundLevel } from './actions.js';
import { EngineResidency, nextState, type ProcessState, type ResidencyEvent } from './residency.js';

const RETRY = { baseMs: 100, maxMs: 1000, maxFailures: 3 };

describe('nextState', () => {
  const table: [ProcessState, ResidencyEvent, FoundLevel, ProcessState | undefined][] = [
    ['down', 'up-0', 0, 'running'],
    ['down', 'up-1', 0, 'sleeping'],
    ['down', 'up-2', 0, 'sleeping-deep'],
    ['down', 'wake', 0, undefined],
    ['running', 'sleep-1', 0, 'falling-asleep'],
    ['running', 'drain', 0, 'draining'],
    ['draining', 'undrain', 0, 'running'],
    ['draining', 'sleep-2', 0, 'falling-asleep'],
    ['falling-asleep', 'slept', 1, 'sleeping'],
    ['falling-asleep', 'slept', 2, 'sleeping-deep'],
    ['falling-asleep', 'sleep-failed', 1, 'running'],
    ['falling-asleep', 'wake', 1, undefined],
    // A second /sleep changes nothing in vLLM: there is no demotion while asleep.
    ['sleeping', 'sleep-2', 1, undefined],
    ['sleeping', 'wake', 1, 'waking'],
    ['sleeping-deep', 'wake', 2, 'waking'],
    ['waking', 'woke', 1, 'running'],
    // After a level-2 wake the canary has the last word.
    ['waking', 'woke', 2, 'waking'],
    ['waking', 'canary-passed', 2, 'running'],
    ['waking', 'canary-failed', 2, 'failed'],
    ['waking', 'wake-failed', 1, 'sleeping'],
    ['waking', 'wake-failed', 2, 'sleeping-deep'],
    ['failed', 'wake', 1, undefined],
    ['failed', 'up-0', 1, 'running'],
    ['waking', 'down', 1, 'down'],
    ['running', 'slept', 0, undefined],
  ];
  it.each(table)('%s + %s at level %i → %s', (state, event, level, expected) => {
    expect(nextState(state, event, level)).toBe(expected);
  });
});

describe('EngineResidency', () => {
  it('backs off after failed wakes, and gives up after the last', () => {
    const residency = new EngineResidency(RETRY);
    residency.found(1, 0);
    const retries: number[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(residency.apply('wake', 1000)).toBe(true);
      residency.apply('wake-failed', 1000);
      retries.push(residency.wakeRetryAtMs);
    }
    expect(retries).toEqual([1100, 1200, 1200]);
    expect(residency.state).toBe('failed');
  });

  it('forgets failures once it is awake', () => {
    const residency = new EngineResidency(RETRY);
    residency.found(1, 0);
    for (let attempt = 0; attempt < 10; attempt++) {
      residency.apply('wake', 0);
      residency.apply('wake-failed', 0);
      residency.apply('wake', 0);
      residency.apply('woke', 5);
      expect(residency.state).toBe('running');
      expect(residency.awakeSinceMs).toBe(5);
      residency.beginSleep(1, 5);
      residency.apply('slept', 5);
    }
  });

  it('is no victim any more when its sleeps keep failing', () => {
    const residency = new EngineResidency(RETRY);
    residency.found(0, 0);
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(residency.sleepWorks).toBe(true);
      residency.beginSleep(1, 0);
      residency.apply('sleep-failed', 0);
    }
    expect(residency.sleepWorks).toBe(false);
    residency.found(0, 0);
    expect(residency.sleepWorks).toBe(true);
  });

  it('ignores a late answer of an earlier process', () => {
    const residency = new EngineResidency(RETRY);
    residency.found(0, 0);
    expect(residency.apply('slept', 1)).toBe(false);
    expect(residency.state).toBe('running');
  });
});
