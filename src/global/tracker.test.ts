import { describe, expect, it } from 'vitest';
import { completed, makeStage } from '../../test/stage-fixture.js';
import type { StageOutcome } from '../model/stage.js';
import { WorkflowTracker } from './tracker.js';

const REJECTED: StageOutcome = { kind: 'rejected', reason: 'queue-full-count', httpStatus: 429, durationMs: 0 };

describe('WorkflowTracker', () => {
  it('tells what came before a stage', () => {
    const tracker = new WorkflowTracker();
    const writer = makeStage({ role: 'writer', deadlineMs: 9_000 });
    const critic = makeStage({ role: 'critic', deadlineMs: 8_000 });
    expect(tracker.begin(writer, 100)).toMatchObject({ stageIndex: 0, invocationIndex: 0, gapMs: undefined });
    tracker.end(writer, completed(50, { serviceMs: 700 }), 1_000);
    expect(tracker.begin(critic, 1_250)).toMatchObject({
      stageIndex: 1,
      invocationIndex: 0,
      lastRoleOutputTokens: undefined,
      lastOutputTokens: 50,
      gapMs: 250,
    });
    tracker.end(critic, completed(9), 2_000);
    expect(tracker.begin(writer, 2_000)).toMatchObject({
      stageIndex: 2,
      invocationIndex: 1,
      lastRoleOutputTokens: 50,
      lastOutputTokens: 9,
    });
    expect(tracker.workflow('workflow-1')).toMatchObject({ liveStages: 1, deadlineMs: 8_000, attainedServiceMs: 3200 });
  });

  it('does not count a rejected stage', () => {
    const tracker = new WorkflowTracker();
    tracker.begin(makeStage(), 0);
    tracker.end(makeStage(), REJECTED, 1);
    expect(tracker.begin(makeStage(), 2)).toMatchObject({ stageIndex: 0, invocationIndex: 0, gapMs: undefined });
  });

  it('ends workflows that are idle, not those with a long call', () => {
    const tracker = new WorkflowTracker({ idleMs: 1_000 });
    tracker.begin(makeStage({ workflowId: 'long' }), 0);
    const quiet = makeStage({ workflowId: 'quiet' });
    tracker.begin(quiet, 0);
    tracker.end(quiet, completed(1), 10);
    expect(tracker.endIdle(1_009)).toEqual([]);
    expect(tracker.endIdle(1_010)).toEqual(['quiet']);
    expect(tracker.endIdle(50_000)).toEqual([]);
    expect(tracker.size).toBe(1);
  });

  it('ends a workflow that says so, once its stages have ended', () => {
    const tracker = new WorkflowTracker();
    tracker.begin(makeStage(), 0);
    expect(tracker.finishWorkflow('workflow-1')).toBe(false);
    tracker.end(makeStage(), completed(1), 10);
    expect(tracker.finishWorkflow('workflow-1')).toBe(true);
    expect(tracker.finishWorkflow('workflow-1')).toBe(false);
    expect(tracker.size).toBe(0);
  });

  it('ends a workflow with the stage that its client calls the last, unless another is under way', () => {
    const tracker = new WorkflowTracker();
    const last = makeStage({ finalStage: true });
    tracker.begin(makeStage(), 0);
    tracker.begin(last, 0);
    expect(tracker.end(last, completed(1), 10)).toBe(false);
    tracker.begin(last, 20);
    expect(tracker.workflow('workflow-1')).toMatchObject({ stages: 3, liveStages: 2, lastOutputTokens: 1 });
    expect(tracker.end(makeStage(), completed(2), 30)).toBe(false);
    expect(tracker.end(last, completed(3), 40)).toBe(true);
    expect(tracker.end(last, completed(3), 50)).toBe(false);
    expect(tracker.size).toBe(0);
  });

  it('forgets the quietest workflow beyond its limit and reports it', () => {
    const tracker = new WorkflowTracker({ maxWorkflows: 2 });
    for (const workflowId of ['a', 'b', 'a', 'c']) tracker.begin(makeStage({ workflowId }), 0);
    expect(tracker.size).toBe(2);
    expect(tracker.endIdle(0)).toEqual(['b']);
  });

  it('tells of each workflow once, when it is over, and how its last call ended', () => {
    const over: unknown[] = [];
    const tracker = new WorkflowTracker({
      idleMs: 1_000,
      maxWorkflows: 2,
      onOver: ({ workflowId, lastOutcome, lastEndMs }) => over.push([workflowId, lastOutcome, lastEndMs]),
    });
    const stage = (workflowId: string, finalStage?: true) => makeStage({ workflowId, finalStage });
    tracker.begin(stage('said', true), 0);
    tracker.end(stage('said', true), completed(1), 10);
    tracker.begin(stage('refused'), 20);
    tracker.end(stage('refused'), { kind: 'rejected', httpStatus: 429, durationMs: 10 }, 30);
    tracker.begin(stage('idle'), 40);
    tracker.end(stage('idle'), { kind: 'engine_failed', httpStatus: 502, durationMs: 10 }, 50);
    tracker.begin(stage('idle'), 60);
    tracker.end(stage('idle'), completed(1), 70);
    tracker.begin(stage('newest'), 80);
    tracker.endIdle(1_075);
    tracker.endIdle(1_075);
    expect(over).toEqual([
      ['said', 'completed', 10],
      ['refused', 'rejected', undefined],
      ['idle', 'completed', 70],
    ]);
  });
});
