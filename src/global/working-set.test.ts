import { describe, expect, it } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { WorkingSet } from './working-set.js';

const stage = (workflowId: string, promptTokens: number, model = 'm') =>
  makeStage({ stageId: `${workflowId}-${promptTokens}`, workflowId, promptTokens, model });
const fresh = (promptTokens: number) => stage('new', promptTokens);

describe('WorkingSet', () => {
  it('admits while contexts fit the share, and always when there are none', () => {
    const set = new WorkingSet(new Map([['m', 1000]]));
    expect(set.admits(fresh(5000), 0.5)).toBe(true);
    set.started(stage('a', 300), 50, 0);
    expect([fresh(150), fresh(151)].map((each) => set.admits(each, 0.5))).toEqual([true, false]);
    expect(set.admits(stage('new', 1e9, 'unknown'), 0.5)).toBe(true);
  });

  it('counts a workflow with its largest context, however many of its stages run', () => {
    const set = new WorkingSet(new Map([['m', 1000]]));
    for (const tokens of [300, 100, 400]) set.started(stage('a', tokens), 0, 0);
    expect([fresh(600), fresh(601)].map((each) => set.admits(each, 1))).toEqual([true, false]);
  });

  it('keeps a workflow that pauses, as long as its pauses have been, and forgets one that is over', () => {
    const set = new WorkingSet(new Map([['m', 1000]]));
    const full = () => !set.admits(fresh(900), 1);
    const first = stage('a', 500);
    set.started(first, 0, 0);
    set.ended(first, false, 1_000);
    expect(set.nextLeaveMs()).toBe(9_000);
    set.expire(8_999);
    expect(full()).toBe(true);
    set.started(stage('a', 600), 0, 8_999);
    expect(set.nextLeaveMs()).toBe(Number.POSITIVE_INFINITY);
    set.ended(stage('a', 600), false, 10_000);
    // It has paused for 8 s before, so it gets twice that.
    expect(set.nextLeaveMs()).toBe(10_000 + 2 * 7_999);
    set.expire(set.nextLeaveMs());
    expect(full()).toBe(false);
    set.started(stage('b', 500), 0, 30_000);
    set.ended(stage('b', 500), true, 31_000);
    expect([full(), set.nextLeaveMs()]).toEqual([false, Number.POSITIVE_INFINITY]);
  });
});
