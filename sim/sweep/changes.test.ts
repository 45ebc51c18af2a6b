import { describe, expect, it } from 'vitest';
import { changesOf } from './changes.js';
import type { RunRow } from './types.js';

const workload = {
  ...{ name: 'w', about: '', workflows: 0, stages: 0, templates: {}, nodes: 1, gpus: 1, engines: 1, models: [] },
  ...{ capacitySpeed: 1, capacityPerHour: 1 },
  phases: [
    { about: 'calm', load: 0.5, fromMinute: 0, toMinute: 5 },
    { about: 'storm', load: 2, fromMinute: 5, toMinute: 25 },
  ],
};

/** Ten workflows a minute, so many of them in time in each. */
function row(policy: string, inTime: readonly number[]): RunRow {
  const minutes = { arrived: inTime.map(() => 10), inTime };
  return { workload: 'w', deadlineRule: 'class', policy, load: 1, seed: 1, minutes } as unknown as RunRow;
}
const tally = (first: number, late: number) => [
  ...Array<number>(5).fill(10),
  ...Array<number>(8).fill(first),
  ...Array<number>(12).fill(late),
];

describe('changesOf', () => {
  const changes = changesOf(
    [workload],
    [row('steady', tally(8, 8)), row('slow', tally(2, 8)), row('bad', tally(2, 2)), row('oracle-edf', tally(10, 10))],
  );
  const storm = (policy: string) => changes.find((each) => each.policy === policy && each.phase === 2)!;

  it('measures against the best that serves, not against one with foresight', () => {
    expect(changes.every(({ phase, best }) => phase === 1 || best === 'steady')).toBe(true);
    expect(storm('steady').backAfterMinutes).toBe(0);
    expect(storm('oracle-edf').backAfterMinutes).toBe(0);
  });

  it('finds the minute from which on a policy is as good as the best, and says when there is none', () => {
    expect(storm('slow').backAfterMinutes).toBe(8);
    expect(storm('bad').backAfterMinutes).toBe(null);
  });

  it('tells the first minutes of a phase from the rest', () => {
    const { attainmentAtFirst, attainmentLater, attainment } = storm('slow');
    expect(attainmentAtFirst).toBeCloseTo(0.2, 9);
    expect(attainmentLater).toBeCloseTo((3 * 2 + 12 * 8) / 150, 9);
    expect(attainment).toBeCloseTo((8 * 2 + 12 * 8) / 200, 9);
  });

  it('judges a phase that is over before it has settled by all of it', () => {
    const phases = [workload.phases[0]!, { about: 'gust', load: 2, fromMinute: 5, toMinute: 8 }];
    const [, gust] = changesOf(
      [{ ...workload, phases }],
      [row('slow', tally(2, 8)), row('steady', tally(8, 8))],
    ).filter(({ phase }) => phase === 2);
    expect(gust).toMatchObject({ policy: 'steady', best: 'steady', attainmentLater: null, backAfterMinutes: null });
    expect(gust!.attainment).toBeCloseTo(0.8, 9);
  });

  it('has nothing to say of traffic that stays the same', () => {
    const { phases: _, ...steady } = workload;
    expect(changesOf([steady], [row('steady', tally(8, 8))])).toEqual([]);
  });
});
