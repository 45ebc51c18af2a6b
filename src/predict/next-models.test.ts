import { describe, expect, it } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import type { Stage } from '../model/stage.js';
import { NextModels } from './next-models.js';

let sequence = 0;

function stage(workflowId: string, role: string, model: string, template = 't'): Stage {
  return makeStage({ stageId: `s${sequence++}`, workflowId, role, model, template });
}

/** Runs a workflow of these roles and models one after another. */
function run(next: NextModels, workflowId: string, calls: readonly (readonly [string, string])[], nowMs = 0): void {
  for (const [role, model] of calls) {
    const call = stage(workflowId, role, model);
    next.stageBegan(call, nowMs);
    next.stageEnded(call, true, nowMs);
  }
  next.workflowEnded(workflowId);
}

describe('NextModels', () => {
  it('expects nothing of kinds that it has never seen', () => {
    const next = new NextModels(10);
    next.stageBegan(stage('w', 'planner', 'big'), 0);
    expect(next.expected('big')).toBe(0);
  });

  it('expects what used to follow, from the beginning of a stage until the next one begins', () => {
    const next = new NextModels(10);
    for (const id of ['w1', 'w2'])
      run(next, id, [
        ['planner', 'big'],
        ['coder', 'code'],
      ]);
    run(next, 'w3', [['planner', 'big']]);
    const planner = stage('w4', 'planner', 'big');
    next.stageBegan(planner, 0);
    expect(next.expected('code')).toBeCloseTo(2 / 3);
    next.stageEnded(planner, true, 5);
    expect(next.expected('code')).toBeCloseTo(2 / 4);
    next.stageBegan(stage('w4', 'coder', 'code'), 6);
    expect(next.expected('code')).toBe(0);
  });

  it('counts a fan-out by its width', () => {
    const next = new NextModels(10);
    const planner = stage('w1', 'planner', 'big');
    next.stageBegan(planner, 0);
    next.stageEnded(planner, true, 1);
    for (let index = 0; index < 4; index++) next.stageBegan(stage('w1', 'worker', 'small'), 2);
    next.workflowEnded('w1');
    next.stageBegan(stage('w2', 'planner', 'big'), 3);
    expect(next.expected('small')).toBe(4);
  });

  it('takes the model that the role has used in this workflow', () => {
    const next = new NextModels(10);
    run(next, 'w1', [
      ['user', 'm1'],
      ['agent', 'm2'],
      ['user', 'm1'],
    ]);
    const user = stage('w2', 'user', 'm9');
    next.stageBegan(user, 0);
    next.stageEnded(user, true, 1);
    next.stageBegan(stage('w2', 'agent', 'm2'), 2);
    expect([next.expected('m1'), next.expected('m9')]).toEqual([0, 1]);
  });

  it('expects nothing more of workflows that ended, failed or went quiet', () => {
    const next = new NextModels(10);
    run(next, 'w1', [
      ['a', 'm'],
      ['b', 'n'],
    ]);
    const begin = (id: string) => {
      const call = stage(id, 'a', 'm');
      next.stageBegan(call, 0);
      return call;
    };
    begin('ended');
    const failed = begin('failed');
    const quiet = begin('quiet');
    expect(next.expected('n')).toBe(3);
    next.workflowEnded('ended');
    next.stageEnded(failed, false, 1);
    next.stageEnded(quiet, true, 1);
    expect(next.expected('n')).toBeCloseTo(1 / 2);
    next.expire(9_000);
    expect(next.expected('n')).toBeCloseTo(1 / 2);
    next.expire(20_000);
    expect(next.expected('n')).toBe(0);
  });

  it('remembers a bounded number of workflows and lets go of what it forgets', () => {
    const next = new NextModels(2);
    run(next, 'w', [
      ['a', 'm'],
      ['b', 'n'],
    ]);
    for (let index = 0; index < 20; index++) next.stageBegan(stage(`w${index}`, 'a', 'm'), index);
    expect(next.expected('n')).toBe(2);
  });
});
