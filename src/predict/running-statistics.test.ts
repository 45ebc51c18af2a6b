import { describe, expect, it } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { RunningStatistics } from './running-statistics.js';

const SIZE = 100;

describe('RunningStatistics', () => {
  it('says nothing before it has seen four calls, then rounded quantiles of each kind', () => {
    const statistics = new RunningStatistics(SIZE);
    const stage = makeStage({ template: 'research', role: 'writer', agent: 'one' });
    for (let call = 0; call < 3; call++) statistics.observe(stage, 300, undefined);
    expect(statistics.features(stage).q50).toBeNaN();
    statistics.observe(stage, 300, undefined);
    // log(301) = 5.707, to the next quarter.
    const all = { q50: 5.75, q95: 5.75, roleQ50: 5.75, roleQ95: 5.75, modelQ50: 5.75 };
    expect(statistics.features(stage)).toMatchObject(all);
    expect(statistics.features({ ...stage, agent: 'two' })).toMatchObject({ ...all, q50: Number.NaN, q95: Number.NaN });
    const elsewhere = statistics.features({ ...stage, template: 'coding' });
    expect(elsewhere).toMatchObject({ q50: Number.NaN, roleQ50: Number.NaN, modelQ50: 5.75 });
  });

  it('counts tool calls of a model and role', () => {
    const statistics = new RunningStatistics(SIZE);
    for (let call = 0; call < 40; call++) statistics.observe(makeStage(), undefined, call % 4 === 0);
    expect(statistics.features(makeStage()).toolRate).toBeCloseTo(0.2, 1);
  });

  it('goes on after a restart as if nothing had happened', () => {
    const before = new RunningStatistics(SIZE);
    for (let call = 0; call < 300; call++) before.observe(makeStage(), (call * 37) % 1000, call % 2 === 0);
    const after = new RunningStatistics(SIZE);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    expect(after.features(makeStage())).toEqual(before.features(makeStage()));
  });
});
