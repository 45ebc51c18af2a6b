import { describe, expect, it } from 'vitest';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import { EDF } from './order/edf.js';
import { GlobalScheduler } from './scheduler.js';
import { WorkflowTracker } from './tracker.js';

describe('the first stage that waits for a model', () => {
  it('is the first in the order of either class, blocked ones included', () => {
    const tracker = new WorkflowTracker();
    const classes = [
      { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
      { name: 'batch', kind: 'batch', deadlineMs: 600_000, weight: 0.2 },
    ] as const;
    const scheduler = new GlobalScheduler({ policy: EDF, classes }, tracker);
    const submit = (stageId: string, sloClass: string, deadlineMs: number) => {
      const stage = makeStage({ stageId, workflowId: `w-${stageId}`, sloClass, deadlineMs });
      tracker.begin(stage, 0);
      scheduler.submit(stage, makePrediction(), 0);
    };
    expect(scheduler.waitingFor('model-a')).toBeUndefined();
    submit('late', 'interactive', 900);
    expect(scheduler.waitingFor('model-a')!.firstKey()).toBe(900);
    submit('batch', 'batch', 300);
    expect(scheduler.waitingFor('model-a')!.firstKey()).toBe(300);
    submit('soon', 'interactive', 200);
    // A seat without memory: what is first in line stands aside.
    const capacity = { model: 'model-a', starts: 1, maxKvTokens: 0, readyInMs: 0 };
    scheduler.capacityChanged({ clusterId: 'local', models: [capacity] });
    expect(scheduler.dispatch(0)).toEqual([]);
    expect(scheduler.waitingFor('model-a')).toMatchObject({ size: 3 });
    expect(scheduler.waitingFor('model-a')!.firstKey()).toBe(200);
    for (const stageId of ['late', 'batch', 'soon']) scheduler.cancel(stageId, 0);
    expect(scheduler.waitingFor('model-a')!.firstKey()).toBe(Number.POSITIVE_INFINITY);
  });
});
