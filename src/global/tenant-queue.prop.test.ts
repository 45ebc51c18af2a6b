import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import { newQueuedStage, type QueuedStage } from './queued-stage.js';
import { TenantQueue } from './tenant-queue.js';
import { WorkflowTracker } from './tracker.js';

function queuedStage(tenant: string, orderKey: number, serviceMs: number): QueuedStage {
  const stage = makeStage({ tenant });
  const tracker = new WorkflowTracker();
  tracker.begin(stage, 0);
  const workflow = tracker.workflow(stage.workflowId)!;
  return { ...newQueuedStage(stage, makePrediction({ serviceMs }), workflow, 'interactive', 0, 0), orderKey };
}

const draws = fc.array(
  fc.record({
    tenant: fc.integer({ min: 0, max: 3 }),
    key: fc.integer({ min: 0, max: 100 }),
    serviceMs: fc.integer({ min: 1, max: 500 }),
  }),
  { minLength: 1, maxLength: 80 },
);

/** Serves until the queue is empty; `onServed` hears of every stage before it is charged. */
function serveAll(queue: TenantQueue, onServed: (queued: QueuedStage) => void): void {
  for (let next = queue.peek(); next; next = queue.peek()) {
    onServed(next);
    queue.remove(next);
    queue.charge(next.stage.tenant, next.prediction.serviceMs);
  }
}

describe('TenantQueue', () => {
  it('serves everything, and no tenant gets ahead of one that waits by more than the slack and one stage', () => {
    fc.assert(
      fc.property(draws, fc.integer({ min: 0, max: 2_000 }), (stages, slackMs) => {
        const queue = new TenantQueue(slackMs);
        const waiting = new Map<string, number>();
        const servedMs = new Map<string, number>();
        for (const { tenant, key, serviceMs } of stages) {
          queue.push(queuedStage(`t${tenant}`, key, serviceMs));
          waiting.set(`t${tenant}`, (waiting.get(`t${tenant}`) ?? 0) + 1);
          servedMs.set(`t${tenant}`, 0);
        }
        let left = stages.length;
        serveAll(queue, ({ stage: { tenant }, prediction }) => {
          const aheadMs = servedMs.get(tenant)!;
          for (const [other, count] of waiting) {
            if (count > 0) expect(aheadMs - servedMs.get(other)!).toBeLessThanOrEqual(slackMs);
          }
          servedMs.set(tenant, aheadMs + prediction.serviceMs);
          waiting.set(tenant, waiting.get(tenant)! - 1);
          left -= 1;
        });
        expect(left).toBe(0);
        expect(queue.size).toBe(0);
      }),
    );
  });

  it('is the plain order of the policy with one tenant', () => {
    fc.assert(
      fc.property(draws, (stages) => {
        const queue = new TenantQueue(0);
        for (const { key, serviceMs } of stages) queue.push(queuedStage('only', key, serviceMs));
        const keys: number[] = [];
        serveAll(queue, ({ orderKey }) => keys.push(orderKey));
        expect(keys).toEqual(stages.map(({ key }) => key).sort((a, b) => a - b));
      }),
    );
  });

  it('gives a tenant that leaves and comes back no fresh start', () => {
    const queue = new TenantQueue(100);
    queue.push(queuedStage('greedy', 0, 1_000));
    queue.push(queuedStage('patient', 9, 10));
    serveAll(queue, () => undefined);
    queue.push(queuedStage('greedy', 0, 1_000));
    queue.push(queuedStage('patient', 9, 10));
    expect(queue.peek()!.stage.tenant).toBe('patient');
  });
});
