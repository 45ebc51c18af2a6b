import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completed, makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { SloClass } from '../model/stage.js';
import { ORDERING_POLICIES } from './order/registry.js';
import { GlobalScheduler } from './scheduler.js';
import { WorkflowTracker } from './tracker.js';

const CLASSES: SloClass[] = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
  { name: 'batch', kind: 'batch', deadlineMs: 1_800_000, weight: 1 },
];

/** One step of a random schedule; the numbers choose among what is there. */
type Step =
  | { kind: 'submit'; workflow: number; tenant: number; model: number; batch: boolean; service: number; kv: number }
  | { kind: 'capacity'; model: number; starts: number; kv: number; cold: number }
  | { kind: 'dispatch' }
  | { kind: 'expire' }
  | { kind: 'policy' }
  | { kind: 'complete' | 'cancel' | 'requeue'; pick: number };

const small = (max: number) => fc.integer({ min: 0, max });
const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('submit' as const),
      workflow: small(5),
      tenant: small(2),
      model: small(1),
      batch: fc.boolean(),
      service: small(5_000),
      kv: small(1_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('capacity' as const),
      model: small(1),
      starts: small(4),
      kv: small(2_000),
      cold: small(2),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('dispatch' as const, 'expire' as const, 'policy' as const) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('complete' as const, 'cancel' as const, 'requeue' as const),
      pick: small(1_000),
    }),
  },
);

describe('GlobalScheduler', () => {
  it('lets every stage leave exactly once and returns to zero, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(STEP, { maxLength: 120 }), small(ORDERING_POLICIES.length - 1), (steps, firstPolicy) => {
        const tracker = new WorkflowTracker();
        const scheduler = new GlobalScheduler(
          {
            policy: ORDERING_POLICIES[firstPolicy]!,
            classes: CLASSES,
            interactiveTimeoutMs: 4_000,
            batchTimeoutMs: 9_000,
            interactiveOverdueMs: 500,
            batchOverdueMs: 1_000,
            tenantSlackMs: 2_000,
            maxCount: 30,
            kvPoolTokens: new Map([['m0', 3_000]]),
          },
          tracker,
        );
        /** Where the test believes each living stage to be. */
        const place = new Map<string, 'waiting' | 'flying'>();
        let nowMs = 0;
        let sequence = 0;
        let policy = firstPolicy;
        const dispatch = () => {
          for (const { stageId } of scheduler.dispatch(nowMs)) {
            expect(place.get(stageId)).toBe('waiting');
            place.set(stageId, 'flying');
          }
        };
        const expire = () => {
          for (const stageId of scheduler.expire(nowMs)) {
            expect(place.get(stageId)).toBe('waiting');
            place.delete(stageId);
          }
        };
        for (const step of steps) {
          nowMs += 97;
          if (step.kind === 'submit') {
            const stage = makeStage({
              stageId: `s${sequence++}`,
              workflowId: `w${step.workflow}`,
              tenant: `t${step.tenant}`,
              model: `m${step.model}`,
              sloClass: step.batch ? 'batch' : 'interactive',
              arrivalMs: nowMs,
              deadlineMs: nowMs + 3_000,
            });
            tracker.begin(stage, nowMs);
            const prediction = makePrediction({ serviceMs: step.service, kvTokens: { q50: 1, bound: step.kv } });
            const result = scheduler.submit(stage, prediction, nowMs);
            if (result.kind === 'queued') place.set(stage.stageId, 'waiting');
            else expect(place.size).toBeGreaterThanOrEqual(30);
          } else if (step.kind === 'capacity') {
            const model = `m${step.model}`;
            const capacity = { model, starts: step.starts, maxKvTokens: step.kv, readyInMs: 0 };
            const cold = { coldStarts: step.cold, coldReadyInMs: 300 };
            scheduler.capacityChanged({ clusterId: 'local', models: [{ ...capacity, ...cold }] });
          } else if (step.kind === 'dispatch') dispatch();
          else if (step.kind === 'expire') expire();
          else if (step.kind === 'policy') {
            policy = (policy + 1) % ORDERING_POLICIES.length;
            scheduler.setPolicy(ORDERING_POLICIES[policy]!, nowMs);
          } else {
            const flying = [...place].filter(([, where]) => step.kind === 'cancel' || where === 'flying');
            const picked = flying[step.pick % Math.max(1, flying.length)]?.[0];
            if (!picked) continue;
            if (step.kind === 'requeue') {
              scheduler.requeue(picked, nowMs);
              place.set(picked, 'waiting');
            } else {
              if (step.kind === 'complete') scheduler.complete(picked, completed(10), nowMs);
              else expect(scheduler.cancel(picked, nowMs)).toBe(true);
              place.delete(picked);
            }
          }
          const waiting = [...place.values()].filter((where) => where === 'waiting').length;
          expect(scheduler.stats()).toMatchObject({ queued: waiting, inFlight: place.size - waiting });
        }
        // Capacity for all of them empties the queue, once the pauses of bounced stages are over and no policy holds workflows back.
        nowMs += 1_000;
        scheduler.setPolicy(ORDERING_POLICIES[0]!, nowMs);
        expire();
        for (const model of ['m0', 'm1']) {
          const capacity = { model, starts: 200, maxKvTokens: 1e9, readyInMs: 0 };
          scheduler.capacityChanged({ clusterId: model, models: [capacity] });
        }
        dispatch();
        for (const [stageId, where] of place) {
          expect(where).toBe('flying');
          scheduler.complete(stageId, completed(1), nowMs);
          scheduler.complete(stageId, completed(1), nowMs);
        }
        expect(scheduler.stats()).toMatchObject({ queued: 0, queuedBytes: 0, inFlight: 0 });
        for (const model of scheduler.stats().models) {
          expect(model).toMatchObject({ interactive: 0, batch: 0, inFlight: 0 });
        }
        expect(scheduler.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the order of arrival among equal keys', () => {
    fc.assert(
      fc.property(fc.array(small(3), { maxLength: 60 }), (deadlines) => {
        const tracker = new WorkflowTracker();
        const policy = ORDERING_POLICIES.find(({ name }) => name === 'edf')!;
        const scheduler = new GlobalScheduler({ policy, classes: CLASSES }, tracker);
        deadlines.forEach((deadlineMs, index) => {
          const stage = makeStage({ stageId: String(index), workflowId: `w${index}`, deadlineMs });
          tracker.begin(stage, 0);
          scheduler.submit(stage, makePrediction(), 0);
        });
        const capacity = { model: 'model-a', starts: 100, maxKvTokens: 1e9, readyInMs: 0 };
        scheduler.capacityChanged({ clusterId: 'local', models: [capacity] });
        const order = scheduler.dispatch(0).map(({ stageId }) => Number(stageId));
        const expected = deadlines.map((_, index) => index).sort((a, b) => deadlines[a]! - deadlines[b]! || a - b);
        expect(order).toEqual(expected);
      }),
    );
  });

  it('starves nobody: with n older overdue stages one leaves within (n + 1) / guardShare dispatches', () => {
    const guardShare = 0.2;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        fc.constantFrom('srtf', 'edf', 'kv-edf'),
        (overdueCount, batch, name) => {
          const tracker = new WorkflowTracker();
          const policy = ORDERING_POLICIES.find((each) => each.name === name)!;
          const overdueMs = { interactiveOverdueMs: 100, batchOverdueMs: 100 };
          const shares = { guardShare, batchShare: 0 };
          const scheduler = new GlobalScheduler({ policy, classes: CLASSES, ...overdueMs, ...shares }, tracker);
          const submit = (stageId: string, serviceMs: number, sloClass: string, nowMs: number) => {
            const deadlineMs = serviceMs;
            const stage = makeStage({ stageId, workflowId: stageId, sloClass, arrivalMs: nowMs, deadlineMs });
            tracker.begin(stage, nowMs);
            scheduler.submit(stage, makePrediction({ serviceMs }), nowMs);
          };
          for (let index = 0; index < overdueCount; index++) {
            submit(`old${index}`, 1e6, batch ? 'batch' : 'interactive', index);
          }
          const left: string[] = [];
          for (let step = 0; step < (overdueCount + 1) / guardShare; step++) {
            // The flood is always shorter, so that the policy alone would never let an old stage go.
            submit(`flood${step}`, 1, 'interactive', 200 + step);
            const capacity = { model: 'model-a', starts: 1, maxKvTokens: 1e9, readyInMs: 0 };
            scheduler.capacityChanged({ clusterId: 'c', models: [capacity] });
            left.push(...scheduler.dispatch(200 + step).map(({ stageId }) => stageId));
          }
          for (let index = 0; index < overdueCount; index++) {
            const position = left.indexOf(`old${index}`);
            expect(position).toBeGreaterThanOrEqual(0);
            expect(position).toBeLessThan((index + 1) / guardShare + 1);
          }
        },
      ),
    );
  });
});
