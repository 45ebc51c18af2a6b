import { expect, it, vi } from 'vitest';
import { makePrediction, makeStage } from '../../../test/stage-fixture.js';
import { CapacityLedger } from '../capacity-ledger.js';
import { newQueuedStage } from '../queued-stage.js';
import { WorkflowTracker } from '../tracker.js';
import { Retention } from './retention.js';
import { ReturningStages } from './returning.js';

it('looks at some of those that wait, however many they are, when none of them can leave', () => {
  const rule = { name: 'always', keepMs: () => 1e9 };
  const retention = new Retention({ rule, enginePoolTokens: new Map([['m', 1e6]]), recomputeMs: () => 1 });
  const capacities = new CapacityLedger();
  const report = (clusterId: string, starts: number) =>
    capacities.update({ clusterId, models: [{ model: 'm', starts, maxKvTokens: 500, readyInMs: 0 }] });
  // Their contexts are where no seat is free.
  report('home', 0);
  report('other', 3);
  const returning = new ReturningStages(retention, capacities);
  const tracker = new WorkflowTracker();
  for (let index = 0; index < 2_000; index++) {
    const workflowId = `w${index}`;
    const before = makeStage({ stageId: `a${index}`, workflowId, model: 'm' });
    tracker.begin(before, 0);
    const workflow = tracker.workflow(workflowId)!;
    retention.ended(
      before,
      { kind: 'completed', durationMs: 1, httpStatus: 200 },
      'home',
      { waitMs: 0, outranks: false },
      0,
    );
    const stage = makeStage({ stageId: `b${index}`, workflowId, model: 'm' });
    const prediction = makePrediction({ kvTokens: { q50: 1_000, bound: 2_000 } });
    const queued = newQueuedStage(stage, prediction, workflow, 'interactive', 1, 1e6);
    returning.submitted(queued, 1);
  }
  const looks = vi.spyOn(retention, 'clusterOf');
  expect(returning.takeNext(2)).toBeUndefined();
  expect(looks.mock.calls.length).toBeLessThan(200);
  report('home', 1);
  expect(returning.takeNext(2)?.queued.stage.stageId).toBe('b0');
});
