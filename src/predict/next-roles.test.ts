import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import { NextRoles } from './next-roles.js';

const LIMITS = { maxCells: 200, maxWorkflows: 100 };
const stageOf = (role: string, workflowId: string, model = 'small') => makeStage({ role, workflowId, model });

/** plan, then code, then test; a test that calls its tool goes back to code, one that does not ends. */
function teach(next: NextRoles, workflowId: string): void {
  const steps: [role: string, model: string, tool: boolean | undefined][] = [
    ['plan', 'large', undefined],
    ['code', 'small', undefined],
    ['test', 'small', true],
    ['code', 'small', undefined],
    ['test', 'small', false],
  ];
  for (const [role, model, tool] of steps) {
    next.begun(stageOf(role, workflowId, model));
    next.ended(stageOf(role, workflowId, model), FIRST_CONTEXT, tool);
  }
  next.workflowEnded(workflowId);
}

describe('NextRoles', () => {
  it('knows nothing before it has seen a workflow', () => {
    expect(new NextRoles(LIMITS).after(stageOf('plan', 'w'), FIRST_CONTEXT, undefined)).toEqual([]);
  });

  it('says what follows, with the model it uses, and what a tool call changes', () => {
    const next = new NextRoles(LIMITS);
    for (let run = 0; run < 20; run++) teach(next, `run-${run}`);
    const first = (role: string, tool: boolean | undefined) => next.after(stageOf(role, 'new'), FIRST_CONTEXT, tool)[0];
    expect(first('plan', undefined)).toMatchObject({ role: 'code', model: 'small' });
    expect(first('test', true)).toMatchObject({ role: 'code' });
    expect(first('test', false)).toMatchObject({ role: undefined, model: undefined });
    const all = next.after(stageOf('test', 'new'), FIRST_CONTEXT, false);
    expect(all.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 9);
    const restored = new NextRoles(LIMITS);
    restored.restore(JSON.parse(JSON.stringify(next.state())));
    expect(restored.after(stageOf('plan', 'new'), FIRST_CONTEXT, undefined)[0]).toMatchObject({ role: 'code' });
  });

  it('gives every sibling of a fan-out the same follower', () => {
    const next = new NextRoles(LIMITS);
    for (let run = 0; run < 5; run++) {
      const siblings = ['a', 'b'].map((role) => stageOf(role, `run-${run}`));
      for (const sibling of siblings) next.begun(sibling);
      for (const sibling of siblings) next.ended(sibling, FIRST_CONTEXT, undefined);
      next.begun(stageOf('join', `run-${run}`));
    }
    for (const role of ['a', 'b']) {
      expect(next.after(stageOf(role, 'new'), FIRST_CONTEXT, undefined)[0]).toMatchObject({ role: 'join' });
    }
  });
});
