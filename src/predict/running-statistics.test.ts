import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import { WorkflowMemory } from '../global/workflow-past.js';
import { RunningStatistics } from './running-statistics.js';

const SIZE = 100;

describe('RunningStatistics', () => {
  it('says nothing before it has seen four calls, then rounded quantiles of each kind', () => {
    const statistics = new RunningStatistics(SIZE);
    const stage = makeStage({ template: 'research', role: 'writer', agent: 'one' });
    for (let call = 0; call < 3; call++) statistics.observe(stage, FIRST_CONTEXT, 300, undefined);
    expect(statistics.features(stage, FIRST_CONTEXT).q50).toBeNaN();
    statistics.observe(stage, FIRST_CONTEXT, 300, undefined);
    // log(301) = 5.707, to the next quarter.
    const all = { q50: 5.75, q95: 5.75, roleQ50: 5.75, roleQ95: 5.75, modelQ50: 5.75 };
    expect(statistics.features(stage, FIRST_CONTEXT)).toMatchObject(all);
    expect(statistics.features({ ...stage, agent: 'two' }, FIRST_CONTEXT)).toMatchObject({
      ...all,
      q50: Number.NaN,
      q95: Number.NaN,
    });
    const elsewhere = statistics.features({ ...stage, template: 'coding' }, FIRST_CONTEXT);
    expect(elsewhere).toMatchObject({ q50: Number.NaN, roleQ50: Number.NaN, modelQ50: 5.75 });
  });

  it('tells layers of a workflow and sizes of prompts apart', () => {
    const statistics = new RunningStatistics(SIZE);
    const later = { ...FIRST_CONTEXT, stageIndex: 9 };
    for (let call = 0; call < 4; call++) {
      statistics.observe(makeStage({ promptTokens: 100 }), FIRST_CONTEXT, 50, undefined);
      statistics.observe(makeStage({ promptTokens: 9000 }), later, 800, undefined);
    }
    const seen = (promptTokens: number, context: typeof later) =>
      statistics.features(makeStage({ promptTokens }), context);
    expect(seen(100, FIRST_CONTEXT)).toMatchObject({ phaseQ50: 4, promptQ50: 4 });
    expect(seen(100, later)).toMatchObject({ phaseQ50: 6.75, promptQ50: 4 });
    expect(seen(9000, FIRST_CONTEXT)).toMatchObject({ phaseQ50: 4, promptQ50: 6.75 });
  });

  it('knows what follows the result of a tool, and whether another call does', () => {
    const statistics = new RunningStatistics(SIZE);
    const afterTool = (lastTool?: string) => makeStage({ features: { lastTool } });
    for (let call = 0; call < 20; call++) {
      statistics.observe(afterTool('search'), FIRST_CONTEXT, 50, true);
      statistics.observe(afterTool('book'), FIRST_CONTEXT, 800, false);
    }
    const seen = (lastTool?: string) => statistics.features(afterTool(lastTool), FIRST_CONTEXT);
    expect(seen('search')).toMatchObject({ toolQ50: 4, toolRate: 1 });
    expect(seen('book')).toMatchObject({ toolQ50: 6.75, toolRate: 0 });
    expect(seen('cancel')).toMatchObject({ toolQ50: Number.NaN, toolRate: 0.5 });
    expect(seen()).toMatchObject({ toolQ50: Number.NaN, toolRate: 0.5 });
  });

  it('counts tool calls of a model and role', () => {
    const statistics = new RunningStatistics(SIZE);
    for (let call = 0; call < 40; call++) statistics.observe(makeStage(), FIRST_CONTEXT, undefined, call % 4 === 0);
    expect(statistics.features(makeStage(), FIRST_CONTEXT).toolRate).toBeCloseTo(0.2, 1);
  });

  it('tells answers after a tool call from those after none, and knows a new template by its model and role', () => {
    const statistics = new RunningStatistics(SIZE);
    const lastAnswer = (agentToolCalled: boolean) => ({
      ...FIRST_CONTEXT,
      past: { ...new WorkflowMemory().begin(makeStage()), agentToolCalled },
    });
    for (let call = 0; call < 20; call++) {
      statistics.observe(makeStage(), lastAnswer(true), undefined, true);
      statistics.observe(makeStage(), lastAnswer(false), undefined, false);
    }
    expect(statistics.features(makeStage(), lastAnswer(true)).toolRate).toBe(1);
    expect(statistics.features(makeStage(), lastAnswer(false)).toolRate).toBe(0);
    expect(statistics.features(makeStage(), FIRST_CONTEXT).toolRate).toBe(0.5);
    expect(statistics.features(makeStage({ template: 'other' }), lastAnswer(true)).toolRate).toBe(0.5);
  });

  it('goes on after a restart as if nothing had happened', () => {
    const before = new RunningStatistics(SIZE);
    for (let call = 0; call < 300; call++)
      before.observe(makeStage(), FIRST_CONTEXT, (call * 37) % 1000, call % 2 === 0);
    const after = new RunningStatistics(SIZE);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    expect(after.features(makeStage(), FIRST_CONTEXT)).toEqual(before.features(makeStage(), FIRST_CONTEXT));
  });
});
