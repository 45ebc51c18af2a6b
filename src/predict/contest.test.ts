import { describe, expect, it } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { EstimateContest, WORK_CONTESTANTS, type WorkContestant } from './contest.js';

const SIZE = 100;
const medians = (model: number, lookup: number) => ({ model, lookup, blend: (model + lookup) / 2 });

describe('EstimateContest', () => {
  it('begins with what the training found', () => {
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, (template) =>
      template === 'short' ? 'lookup' : 'model',
    );
    expect(contest.winner(makeStage({ template: 'long' }))).toBe('model');
    expect(contest.winner(makeStage({ template: 'short' }))).toBe('lookup');
  });

  it.each([
    ['lookup', medians(500, 101)],
    ['model', medians(101, 500)],
    ['blend', medians(150, 52)],
  ])('lets the %s serve once it has erred less', (winner, said) => {
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    for (let call = 0; call < 30; call++) contest.observe(makeStage(), said, 100);
    expect(contest.winner(makeStage())).toBe(winner);
    // A new role of the template goes by the template.
    expect(contest.winner(makeStage({ role: 'new' }))).toBe(winner);
    expect(contest.winner(makeStage({ template: 'other' }))).toBe('model');
  });

  it('takes a small lead for chance', () => {
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    for (let call = 0; call < 30; call++) contest.observe(makeStage(), medians(200, 199), 100);
    expect(contest.winner(makeStage())).toBe('model');
  });

  it('follows a change, and survives a restart', () => {
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    for (let call = 0; call < 200; call++) contest.observe(makeStage(), medians(100, 300), 100);
    for (let call = 0; call < 200; call++) contest.observe(makeStage(), medians(100, 300), 300);
    expect(contest.winner(makeStage())).toBe('lookup');
    const restored = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    restored.restore(JSON.parse(JSON.stringify(contest.state())));
    expect(restored.winner(makeStage())).toBe('lookup');
  });

  it('does not take up what was saved of other contestants', () => {
    const contest = new EstimateContest(SIZE, WORK_CONTESTANTS, () => 'model');
    contest.restore([['t\nresearch', 100, [300, 1]]]);
    contest.restore([['t\nlong', 100, [300, 1, 200]]]);
    expect(contest.winner(makeStage({ template: 'research' }))).toBe('model');
    expect(contest.winner(makeStage({ template: 'long' }))).toBe('lookup');
  });

  it('begins with what a training found, which counts less of a role than what comes', () => {
    const teacher = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    for (let call = 0; call < 200; call++) teacher.observe(makeStage(), medians(300, 100), 100);
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    contest.begin(teacher.state());
    // The template speaks at once, the role only after calls of its own.
    expect(contest.winner(makeStage())).toBe('lookup');
    expect(contest.winner(makeStage({ role: 'new' }))).toBe('lookup');
    for (let call = 0; call < 9; call++) contest.observe(makeStage(), medians(100, 900), 100);
    expect(contest.winner(makeStage())).toBe('lookup');
    contest.observe(makeStage(), medians(100, 900), 100);
    expect(contest.winner(makeStage())).toBe('model');
  });

  it('goes on with what was saved, whatever a training found', () => {
    const saved = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    for (let call = 0; call < 30; call++) saved.observe(makeStage(), medians(100, 300), 100);
    const trained = saved.state().map(([key]) => [key, 500, [300, 100, 200]] as const);
    const contest = new EstimateContest<WorkContestant>(SIZE, WORK_CONTESTANTS, () => 'model');
    contest.begin(trained);
    contest.restore(saved.state());
    expect(contest.state()).toEqual(saved.state());
  });
});
