import { describe, expect, it } from 'vitest';
import { completed, makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { KeptContext, ModelCapacity } from '../model/fleet.js';
import { type Prediction, type SloClass, type Stage, sessionOf } from '../model/stage.js';
import { EDF } from './order/edf.js';
import { FCFS } from './order/fcfs.js';
import { KV_EDF } from './order/kv-admission.js';
import { EDF_LATE_LAST } from './order/late-last.js';
import { LOAD_HYBRID } from './order/load-hybrid.js';
import { FLOODED } from './order/load-steps.js';
import { MAESTRO } from './order/maestro.js';
import { RELEGATION_OFFSET_MS } from './order/relegation.js';
import { SRTF } from './order/srtf.js';
import { Retention } from './retention/retention.js';
import type { RetentionRule } from './retention/rules.js';
import { GlobalScheduler } from './scheduler.js';
import type { GlobalSchedulerConfig } from './scheduler-types.js';
import { WorkflowTracker } from './tracker.js';

const CLASSES: SloClass[] = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
  { name: 'batch', kind: 'batch', deadlineMs: 1_800_000, weight: 0.2 },
];

class Bench {
  readonly tracker = new WorkflowTracker();
  readonly scheduler: GlobalScheduler;
  private sequence = 0;

  constructor(config: Partial<GlobalSchedulerConfig> = {}) {
    this.scheduler = new GlobalScheduler({ policy: FCFS, classes: CLASSES, ...config }, this.tracker);
  }

  submit(stage: Partial<Stage> = {}, prediction: Partial<Prediction> = {}, nowMs = 0): string {
    const stageId = stage.stageId ?? `s${this.sequence++}`;
    const whole = makeStage({ workflowId: `w-${stageId}`, ...stage, stageId, arrivalMs: nowMs });
    this.tracker.begin(whole, nowMs);
    const result = this.scheduler.submit(whole, makePrediction(prediction), nowMs);
    return result.kind === 'queued' ? stageId : result.reason;
  }

  capacity(starts: number, more: Partial<ModelCapacity> = {}, model = 'model-a', clusterId = 'local'): void {
    const capacity: ModelCapacity = { model, starts, maxKvTokens: 1e6, readyInMs: 0, ...more };
    this.scheduler.capacityChanged({ clusterId, models: [capacity] });
  }

  /** Ids that leave now, in order. */
  dispatch(nowMs = 0): string[] {
    return this.scheduler.dispatch(nowMs).map((dispatch) => dispatch.stageId);
  }

  drain(steps: number, nowMs = 0): string[] {
    const order: string[] = [];
    for (let step = 0; step < steps; step++) {
      this.capacity(1);
      order.push(...this.dispatch(nowMs));
    }
    return order;
  }
}

describe('GlobalScheduler: late binding', () => {
  it('lets nothing leave without capacity and no more than there is', () => {
    const bench = new Bench();
    for (let index = 0; index < 5; index++) bench.submit();
    expect(bench.dispatch()).toEqual([]);
    bench.capacity(2);
    expect(bench.dispatch()).toEqual(['s0', 's1']);
    expect(bench.dispatch()).toEqual([]);
    bench.capacity(5);
    expect(bench.dispatch()).toEqual(['s2', 's3', 's4']);
    expect(bench.scheduler.stats()).toMatchObject({ queued: 0, inFlight: 5, dispatched: 5 });
  });

  it('fills as many of the seats as the policy has a share of, two at least', () => {
    const bench = new Bench({ policy: { ...FCFS, seatShare: 0.25 } });
    const ids = Array.from({ length: 8 }, () => bench.submit());
    bench.capacity(4);
    expect(bench.dispatch()).toEqual(['s0', 's1']);
    bench.capacity(14);
    expect(bench.dispatch()).toEqual(['s2', 's3']);
    expect(bench.dispatch()).toEqual([]);
    bench.scheduler.complete(ids[0]!, completed(1), 0);
    bench.capacity(13);
    expect(bench.dispatch()).toEqual(['s4']);
    // Who may wake a sleeping engine takes no seat of one that is awake.
    bench.capacity(0, { coldStarts: 1, coldReadyInMs: -1 });
    expect(bench.dispatch()).toEqual(['s5']);
    bench.scheduler.setPolicy(FCFS, 0);
    bench.capacity(2);
    expect(bench.dispatch()).toEqual(['s6', 's7']);
  });

  it('lets the shortest of too many single calls go first, on as many seats as let them end in time', () => {
    const bench = new Bench({ policy: MAESTRO });
    const call = (serviceMs: number, nowMs: number) =>
      bench.submit({ deadlineMs: nowMs + 8_000 }, { serviceMs, remainingMs: 0 }, nowMs);
    bench.capacity(16);
    // Each takes seven of its eight seconds, and one ends in half a second while hundreds wait.
    const running = Array.from({ length: 16 }, () => call(1_000, 0));
    expect(bench.dispatch(0)).toHaveLength(16);
    for (let index = 0; index < 300; index++) call(1_000, 100);
    let mostRunning = 16;
    for (let nowMs = 7_000; nowMs < 60_000; nowMs += 500) {
      bench.scheduler.complete(running.shift()!, completed(1), nowMs);
      call(1_000, nowMs);
      bench.capacity(16 - running.length);
      running.push(...bench.dispatch(nowMs));
      mostRunning = running.length;
    }
    expect(bench.scheduler.stats().models[0]).toMatchObject({ loadStep: FLOODED });
    expect(mostRunning).toBeLessThan(12);
    expect(bench.scheduler.queues.floods()['model-a']).toBeLessThan(0.7);
    // Its deadline is the latest of all.
    const short = call(10, 60_000);
    while (running.length >= mostRunning - 1) bench.scheduler.complete(running.shift()!, completed(1), 60_000);
    bench.capacity(16 - running.length);
    expect(bench.dispatch(60_000)[0]).toBe(short);
  });

  it('tells of no flood when nothing waits any more', () => {
    const bench = new Bench({ policy: MAESTRO });
    const ids = Array.from({ length: 100 }, () => bench.submit({ deadlineMs: 8_000 }, { remainingMs: 0 }));
    for (let nowMs = 0; nowMs < 5_000; nowMs += 1_000) {
      bench.capacity(1);
      for (const id of bench.dispatch(nowMs)) bench.scheduler.complete(id, completed(1), nowMs + 500);
    }
    expect(Object.keys(bench.scheduler.queues.floods())).toEqual(['model-a']);
    for (const id of ids) bench.scheduler.cancel(id, 5_000);
    expect(bench.scheduler.queues.floods()).toEqual({});
  });

  it('knows no flood where models take turns, whose keys are compared with those of others', () => {
    const steps = [new Set<string>(), new Set(['model-a'])].map((modelsTakingTurns) => {
      const bench = new Bench({ policy: MAESTRO, modelsTakingTurns });
      for (let index = 0; index < 100; index++) bench.submit({ deadlineMs: 8_000 }, { remainingMs: 0 });
      for (let nowMs = 0; nowMs < 5_000; nowMs += 1_000) {
        bench.capacity(1);
        for (const id of bench.dispatch(nowMs)) bench.scheduler.complete(id, completed(1), nowMs + 500);
      }
      return bench.scheduler.stats().models[0]!.loadStep;
    });
    expect(steps).toEqual([FLOODED, 4]);
  });

  it('follows a fleet that changes: models take turns from then on, and one without engines keeps no queue', () => {
    const bench = new Bench({ policy: MAESTRO });
    const ids: string[] = [];
    for (let index = 0; index < 100; index++) ids.push(bench.submit({ deadlineMs: 8_000 }, { remainingMs: 0 }));
    const step = () => bench.scheduler.stats().models[0]!.loadStep;
    for (let nowMs = 0; nowMs < 5_000; nowMs += 1_000) {
      bench.capacity(1);
      for (const id of bench.dispatch(nowMs)) bench.scheduler.complete(id, completed(1), nowMs + 500);
    }
    expect(step()).toBe(FLOODED);
    bench.scheduler.fleetChanged(new Set(['model-a']));
    bench.capacity(0);
    bench.dispatch(5_000);
    expect(step()).not.toBe(FLOODED);
    bench.scheduler.queues.forgetUnserved(() => 'none');
    expect(bench.scheduler.stats().models).toHaveLength(1);
    for (const id of ids) bench.scheduler.cancel(id, 6_000);
    bench.scheduler.queues.forgetUnserved(() => 'down');
    expect(bench.scheduler.stats().models).toHaveLength(1);
    bench.scheduler.queues.forgetUnserved(() => 'none');
    expect(bench.scheduler.stats().models).toEqual([]);
  });

  it('lets an urgent late-comer overtake until the moment of dispatch', () => {
    const bench = new Bench({ policy: EDF });
    bench.submit({ deadlineMs: 9_000 });
    bench.submit({ deadlineMs: 8_000 });
    bench.submit({ deadlineMs: 10_000 });
    expect(bench.drain(3)).toEqual(['s1', 's0', 's2']);
  });

  it('chooses the cluster that is ready soonest', () => {
    const bench = new Bench();
    bench.capacity(1, { readyInMs: 900 }, 'model-a', 'far');
    bench.capacity(1, { readyInMs: 0 }, 'model-a', 'near');
    bench.submit();
    bench.submit();
    expect(bench.scheduler.dispatch(0).map((dispatch) => dispatch.clusterId)).toEqual(['near', 'far']);
  });

  it('lets stages that fit pass one whose KV does not, but not for ever', () => {
    const bench = new Bench({ interactiveOverdueMs: 1_000, guardShare: 0.5 });
    const bigs = [1, 2].map(() => bench.submit({ deadlineMs: 60_000 }, { kvTokens: { q50: 1, bound: 50_000 } }));
    for (let index = 0; index < 8; index++) bench.submit();
    const starts = (nowMs: number, maxKvTokens = 10_000) => {
      bench.capacity(1, { maxKvTokens });
      return bench.dispatch(nowMs);
    };
    expect([starts(0), starts(500), starts(999)]).toEqual([['s2'], ['s3'], ['s4']]);
    // Both are overdue: of two dispatches one is theirs, and nothing else begins until it can be made.
    expect([starts(1_000), starts(1_001), starts(1_002), starts(5_000)]).toEqual([['s5'], ['s6'], [], []]);
    expect(starts(5_000, 60_000)).toEqual([bigs[0]]);
    expect([starts(5_001), starts(5_002), starts(5_003)]).toEqual([['s7'], [], []]);
    expect(starts(6_000, 60_000)).toEqual([bigs[1]]);
    expect([starts(6_001), starts(6_002)]).toEqual([['s8'], ['s9']]);
  });

  it('waits for a stage whose KV does not fit as long as for batch where it is late in any case', () => {
    const bench = new Bench({ interactiveOverdueMs: 1_000, batchOverdueMs: 8_000, guardShare: 1, policy: EDF });
    const big = bench.submit({ deadlineMs: 500 }, { kvTokens: { q50: 1, bound: 50_000 } });
    for (let index = 0; index < 4; index++) bench.submit({ deadlineMs: 600_000 + index });
    const starts = (nowMs: number, maxKvTokens = 10_000) => {
      bench.capacity(1, { maxKvTokens });
      return bench.dispatch(nowMs);
    };
    expect([starts(0), starts(1_000), starts(7_999), starts(8_000), starts(8_001)]).toEqual([
      ['s1'],
      ['s2'],
      ['s3'],
      ['s4'],
      [],
    ]);
    expect(starts(9_000, 60_000)).toEqual([big]);
  });

  it('looks past several stages whose KV does not fit, and starts them in their order when it does', () => {
    const bench = new Bench({ policy: EDF });
    bench.submit({ deadlineMs: 2_000 }, { kvTokens: { q50: 1, bound: 50_000 } });
    bench.submit({ deadlineMs: 3_000 }, { kvTokens: { q50: 1, bound: 40_000 } });
    bench.submit({ deadlineMs: 9_000 });
    bench.capacity(3, { maxKvTokens: 10_000 });
    expect(bench.dispatch()).toEqual(['s2']);
    bench.submit({ deadlineMs: 1_000 }, { kvTokens: { q50: 1, bound: 45_000 } });
    expect(bench.dispatch()).toEqual([]);
    bench.capacity(1, { maxKvTokens: 60_000 });
    expect(bench.dispatch()).toEqual(['s3']);
    bench.capacity(1, { maxKvTokens: 45_000 });
    expect(bench.dispatch()).toEqual(['s1']);
    expect(bench.scheduler.stats()).toMatchObject({ queued: 1, inFlight: 3 });
  });

  it('starts what can be in time before a blocked stage that has turned late meanwhile', () => {
    const bench = new Bench({ policy: EDF_LATE_LAST });
    bench.submit({ deadlineMs: 2_000 }, { kvTokens: { q50: 1, bound: 50_000 } });
    bench.submit({ deadlineMs: 90_000 });
    bench.capacity(1, { maxKvTokens: 10_000 });
    expect(bench.dispatch()).toEqual(['s1']);
    bench.submit({ deadlineMs: 95_000 });
    bench.capacity(1, { maxKvTokens: 60_000 });
    expect(bench.dispatch(2_001)).toEqual(['s2']);
  });

  it('says of what leaves when it will be late, and what place it has then', () => {
    const bench = new Bench({ policy: EDF_LATE_LAST });
    bench.submit({ deadlineMs: 2_000 });
    bench.submit({ deadlineMs: 500 });
    bench.capacity(2);
    expect(bench.scheduler.dispatch(1_000)).toMatchObject([
      { stageId: 's0', orderKey: 2_000, keyChange: { atMs: 2_001, orderKey: 2_000 + RELEGATION_OFFSET_MS } },
      { stageId: 's1', orderKey: 500 + RELEGATION_OFFSET_MS, keyChange: undefined },
    ]);
  });

  it('gives a blocked stage back when it is cancelled', () => {
    const bench = new Bench({ interactiveOverdueMs: 1_000, guardShare: 1 });
    const big = bench.submit({ deadlineMs: 60_000 }, { kvTokens: { q50: 1, bound: 50_000 } });
    bench.capacity(2, { maxKvTokens: 10_000 });
    expect(bench.dispatch()).toEqual([]);
    bench.submit({}, {}, 900);
    bench.submit({}, {}, 900);
    expect(bench.dispatch(1_000)).toEqual(['s1']);
    bench.scheduler.cancel(big, 1_001);
    expect(bench.dispatch(1_001)).toEqual(['s2']);
  });

  it('wakes a sleeping engine only when the queue would take longer to drain', () => {
    const bench = new Bench();
    bench.capacity(2);
    for (let index = 0; index < 14; index++) bench.submit();
    expect(bench.dispatch()).toHaveLength(2);
    const cold = () => {
      bench.capacity(0, { coldStarts: 1, coldReadyInMs: 2_500 });
      return bench.dispatch(600);
    };
    expect(cold()).toEqual([]);
    bench.scheduler.complete('s0', completed(1), 300);
    bench.scheduler.complete('s1', completed(1), 600);
    // Twelve stages wait for a seat that comes free every 300 ms: 3.6 s against 2.5 s of waking.
    expect(cold()).toEqual(['s2']);
  });
});

describe('GlobalScheduler: what stands above the policy', () => {
  it('puts interactive before batch, and gives batch its share', () => {
    const bench = new Bench({ batchShare: 0.25 });
    for (let index = 0; index < 4; index++) bench.submit({ sloClass: 'batch', stageId: `b${index}` });
    for (let index = 0; index < 12; index++) bench.submit({ stageId: `i${index}` });
    const order = bench.drain(16);
    expect(order.slice(0, 10)).toEqual(['i0', 'i1', 'i2', 'i3', 'b0', 'i4', 'i5', 'i6', 'b1', 'i7']);
    expect(order).toHaveLength(16);
  });

  it('gives the oldest overdue stage a share of the dispatches', () => {
    const bench = new Bench({ policy: SRTF, guardShare: 0.25, interactiveOverdueMs: 1_000 });
    bench.submit({ stageId: 'huge' }, { serviceMs: 1e6 });
    const order: string[] = [];
    for (let step = 0; step < 10; step++) {
      bench.submit({ stageId: `small${step}` }, { serviceMs: 1 }, 1_000 + step);
      order.push(...bench.drain(1, 1_000 + step));
    }
    expect(order.indexOf('huge')).toBe(4);
  });

  it('gives a stage that is let through out of turn a priority that is not last inside the engine', () => {
    const bench = new Bench({ policy: SRTF, batchShare: 1 });
    bench.submit({ stageId: 'urgent' }, { serviceMs: 10 });
    bench.submit({ stageId: 'bulk', sloClass: 'batch' }, { serviceMs: 1e6 });
    bench.submit({ stageId: 'other' }, { serviceMs: 20 });
    bench.capacity(3);
    const dispatches = bench.scheduler.dispatch(0);
    expect(dispatches.map((dispatch) => dispatch.stageId)).toEqual(['urgent', 'bulk', 'other']);
    expect(dispatches[1]!.priority).toBeLessThanOrEqual(dispatches[2]!.priority);
  });

  it('keeps a flood of one tenant from starving another, and leaves the policy alone below the slack', () => {
    const bench = new Bench({ tenantSlackMs: 3_000 });
    for (let index = 0; index < 40; index++)
      bench.submit({ tenant: 'flood', stageId: `f${index}` }, { serviceMs: 1000 });
    for (let index = 0; index < 5; index++)
      bench.submit({ tenant: 'small', stageId: `q${index}` }, { serviceMs: 1000 });
    const order = bench.drain(45);
    expect(order.slice(0, 4)).toEqual(['f0', 'f1', 'f2', 'f3']);
    expect(order.slice(4, 13).filter((id) => id.startsWith('q'))).toHaveLength(5);
    expect(order).toHaveLength(45);
  });
});

describe('GlobalScheduler: bounds', () => {
  it('names the limit that stands in the way and when to try again', () => {
    const bench = new Bench({ maxCount: 3, maxBytes: 10_000, maxCountPerTenant: 2 });
    expect(bench.submit({ tenant: 'a', bodyBytes: 4_000 })).toBe('s0');
    expect(bench.submit({ tenant: 'a', bodyBytes: 4_000 })).toBe('s1');
    expect(bench.submit({ tenant: 'a', bodyBytes: 1 })).toBe('tenant-queue-full');
    expect(bench.submit({ tenant: 'b', bodyBytes: 4_000 })).toBe('queue-full-bytes');
    expect(bench.submit({ tenant: 'b', bodyBytes: 1 })).toBe('s4');
    expect(bench.submit({ tenant: 'c', bodyBytes: 1 })).toBe('queue-full-count');
    bench.scheduler.cancel('s0', 0);
    expect(bench.submit({ tenant: 'a', bodyBytes: 1 })).toBe('s6');
    const refusals = bench.scheduler.stats().rejected;
    expect(refusals).toEqual({ 'queue-full-count': 1, 'queue-full-bytes': 1, 'tenant-queue-full': 1 });
  });

  it('expires stages by class, once, and says when', () => {
    const bench = new Bench({ interactiveTimeoutMs: 1_000, batchTimeoutMs: 5_000 });
    bench.submit({ stageId: 'i' });
    bench.submit({ stageId: 'b', sloClass: 'batch' });
    expect(bench.scheduler.nextExpiryMs()).toBe(1_000);
    expect(bench.scheduler.expire(999)).toEqual([]);
    expect(bench.scheduler.expire(1_000)).toEqual(['i']);
    expect(bench.scheduler.nextExpiryMs()).toBe(5_000);
    expect(bench.scheduler.expire(6_000)).toEqual(['b']);
    expect(bench.scheduler.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
    expect(bench.scheduler.stats()).toMatchObject({ queued: 0, queuedBytes: 0, expired: 2 });
  });

  it('takes a bounced stage back at its old place after a growing pause', () => {
    const bench = new Bench({ maxCount: 2 });
    bench.submit({}, {}, 0);
    bench.capacity(1);
    expect(bench.dispatch()).toEqual(['s0']);
    bench.submit({}, {}, 1);
    bench.submit({}, {}, 2);
    bench.scheduler.requeue('s0', 0);
    expect(bench.scheduler.stats()).toMatchObject({ queued: 3, inFlight: 0, requeued: 1 });
    expect(bench.scheduler.nextExpiryMs()).toBe(5);
    bench.capacity(1);
    expect(bench.dispatch(5)).toEqual(['s0']);
    bench.scheduler.requeue('s0', 5);
    bench.capacity(1);
    expect(bench.dispatch(14)).toEqual(['s1']);
    bench.capacity(1);
    expect(bench.dispatch(15)).toEqual(['s0']);
  });

  it('tries the first that waits for each adapter when a stage of its model ends, and leaves the others', () => {
    const bench = new Bench();
    const ids = [
      bench.submit({ adapter: 'planner' }),
      bench.submit({ adapter: 'planner', sloClass: 'batch' }, {}, 1),
      bench.submit({ adapter: 'planner' }, {}, 2),
      bench.submit({ adapter: 'critic' }, {}, 3),
      bench.submit({ adapter: 'other', model: 'model-b' }, {}, 4),
      bench.submit({}, {}, 5),
    ];
    const runs = bench.submit({}, {}, 6);
    bench.capacity(20);
    bench.capacity(9, {}, 'model-b');
    expect(bench.dispatch(6)).toHaveLength(7);
    // The younger is bounced first, so that it is the age of each that tells.
    for (const id of ids.toReversed()) bench.scheduler.requeue(id, 6);
    bench.scheduler.complete(runs, completed(10), 7);
    expect(bench.dispatch(7)).toEqual(['s0', 's3']);
    expect(bench.dispatch(7)).toEqual([]);
    bench.scheduler.complete('s3', completed(10), 8);
    expect(bench.dispatch(8)).toEqual(['s2']);
    expect(bench.scheduler.nextExpiryMs()).toBe(11);
    bench.scheduler.cancel('s1', 9);
    bench.scheduler.cancel('s0', 9);
    expect(bench.dispatch(9)).toEqual([]);
    expect(bench.dispatch(11).sort()).toEqual(['s4', 's5']);
    expect(bench.scheduler.stats()).toMatchObject({ queued: 0 });
  });
});

describe('GlobalScheduler: changing order', () => {
  it('gives every waiting stage a new key when the policy changes', () => {
    const bench = new Bench({ policy: FCFS });
    bench.submit({}, { serviceMs: 900 });
    bench.submit({}, { serviceMs: 100 });
    bench.submit({}, { serviceMs: 500 });
    bench.scheduler.setPolicy(SRTF, 0);
    expect(bench.scheduler.policyName).toBe('srtf');
    expect(bench.drain(3)).toEqual(['s1', 's2', 's0']);
  });

  it('prefers short work as the queue grows', () => {
    const bench = new Bench({ policy: LOAD_HYBRID });
    bench.submit({ deadlineMs: 60_000 }, { serviceMs: 20_000 });
    bench.submit({ deadlineMs: 61_000 }, { serviceMs: 100 });
    bench.capacity(0);
    bench.dispatch();
    expect(bench.drain(1)).toEqual(['s1']);
  });

  it('relegates a hopeless workflow by time alone and takes its other stages back once it has started', () => {
    const bench = new Bench({ policy: LOAD_HYBRID });
    bench.submit({ workflowId: 'late', deadlineMs: 10_000, stageId: 'late1' }, { serviceMs: 2_000 });
    bench.submit({ workflowId: 'late', deadlineMs: 10_000, stageId: 'late2' }, { serviceMs: 3_000 });
    bench.submit({ workflowId: 'too', deadlineMs: 10_000, stageId: 'too' }, { serviceMs: 2_500 });
    for (let index = 0; index < 6; index++) bench.submit({ deadlineMs: 90_000 }, { serviceMs: 2_000 });
    bench.dispatch(0);
    const order: string[] = [];
    for (let step = 0; step < 9; step++) {
      order.push(...bench.drain(1, 9_500));
      bench.scheduler.complete(order.at(-1)!, completed(1), 9_500);
    }
    expect(order.slice(0, 6)).toEqual(['s0', 's1', 's2', 's3', 's4', 's5']);
    expect(order.slice(6)).toEqual(['late1', 'late2', 'too']);
  });
});

describe('GlobalScheduler: admission by KV memory', () => {
  const bench = () => new Bench({ policy: KV_EDF, kvPoolTokens: new Map([['model-a', 10_000]]) });
  const expected = { outputTokens: { q30: 0, q50: 0, q95: 0, mean: 0 } };

  it('holds new workflows back while contexts fill the memory, and lets those that have begun pass', () => {
    const each = bench();
    each.submit({ stageId: 'a1', workflowId: 'a', promptTokens: 5_000, deadlineMs: 3 }, expected);
    each.submit({ stageId: 'b1', workflowId: 'b', promptTokens: 2_000, deadlineMs: 2 }, expected);
    each.submit({ stageId: 'c1', workflowId: 'c', promptTokens: 5_000, deadlineMs: 1 }, expected);
    each.capacity(9);
    // 6,000 of 10,000 tokens: the first fits, the second would make 7,000, and smaller ones do not overtake it for ever.
    expect(each.dispatch()).toEqual(['c1']);
    each.submit({ stageId: 'c2', workflowId: 'c', promptTokens: 5_500, deadlineMs: 9_000 }, expected);
    expect(each.dispatch()).toEqual(['c2']);
  });

  it('lets the next one begin when a workflow is over, or does not come back', () => {
    const each = bench();
    each.submit({ stageId: 'a1', workflowId: 'a', promptTokens: 5_000, finalStage: true }, expected);
    each.submit({ stageId: 'b1', workflowId: 'b', promptTokens: 5_000, deadlineMs: 70_000 }, expected);
    each.submit({ stageId: 'c1', workflowId: 'c', promptTokens: 5_000, deadlineMs: 80_000 }, expected);
    each.capacity(9);
    expect(each.dispatch()).toEqual(['a1']);
    each.scheduler.complete('a1', completed(1), 1_000);
    expect(each.dispatch(1_000)).toEqual(['b1']);
    each.scheduler.complete('b1', completed(1), 2_000);
    expect(each.dispatch(2_000)).toEqual([]);
    const backMs = each.scheduler.nextExpiryMs();
    expect(backMs).toBe(10_000);
    expect(each.dispatch(backMs)).toEqual(['c1']);
    expect(each.scheduler.nextExpiryMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('does not let what waits too long starve behind workflows that go on', () => {
    const each = bench();
    each.submit({ stageId: 'a0', workflowId: 'a', promptTokens: 5_000 }, expected);
    each.submit({ stageId: 'old', workflowId: 'old', promptTokens: 5_000, deadlineMs: 1e7 }, expected);
    each.capacity(1);
    each.dispatch();
    const order: string[] = [];
    for (let turn = 1; turn <= 21 && !order.includes('old'); turn++) {
      each.submit({ stageId: `a${turn}`, workflowId: 'a', promptTokens: 5_000 }, expected, 100_000 + turn);
      each.capacity(1);
      order.push(...each.dispatch(100_000 + turn));
    }
    expect(order.at(-1)).toBe('old');
  });

  it('stops holding back when another policy takes over', () => {
    const each = bench();
    for (const name of ['a', 'b']) each.submit({ stageId: name, workflowId: name, promptTokens: 5_000 }, expected);
    each.capacity(9);
    expect(each.dispatch()).toEqual(['a']);
    each.scheduler.setPolicy(EDF, 0);
    expect(each.dispatch()).toEqual(['b']);
  });
});

describe('GlobalScheduler: kept contexts', () => {
  const rule: RetentionRule = { name: 'always', keepMs: () => 1_000 };
  const kept = () =>
    new Bench({
      retention: new Retention({ rule, enginePoolTokens: new Map([['model-a', 100_000]]), recomputeMs: () => 0 }),
    });

  /** A workflow whose first stage has ended. */
  function pause(bench: Bench, deadlineMs = 60_000): KeptContext | undefined {
    bench.submit({ stageId: 'a1', workflowId: 'a', deadlineMs });
    bench.capacity(1);
    bench.dispatch();
    return bench.scheduler.complete('a1', completed(100), 100);
  }

  it('says what is to be kept when a stage ends, and of which session', () => {
    const keep = pause(kept());
    expect(keep).toEqual({ session: sessionOf(makeStage({ workflowId: 'a' })), tokens: 1_100, untilMs: 2_100 });
  });

  it('lets the stage whose context is kept go first while memory is what the others wait for', () => {
    const bench = kept();
    pause(bench);
    bench.submit({ stageId: 'b1' }, {}, 150);
    bench.submit({ stageId: 'a2', workflowId: 'a' }, {}, 200);
    bench.capacity(4, { maxKvTokens: 10 });
    expect(bench.dispatch(200)).toEqual(['a2']);
  });

  it('takes those that come back in the order in which they came, without those that are cancelled', () => {
    const bench = kept();
    for (const workflowId of ['a', 'b', 'c']) {
      bench.submit({ stageId: `${workflowId}1`, workflowId });
      bench.capacity(1);
      bench.dispatch();
      bench.scheduler.complete(`${workflowId}1`, completed(100), 100);
    }
    for (const workflowId of ['c', 'a', 'b']) bench.submit({ stageId: `${workflowId}2`, workflowId }, {}, 200);
    bench.scheduler.cancel('a2', 200);
    bench.capacity(4, { maxKvTokens: 10 });
    expect(bench.dispatch(200)).toEqual(['c2', 'b2']);
    expect(bench.dispatch(200)).toEqual([]);
  });

  it('leaves the order as it is while memory is no obstacle, and once the time is over', () => {
    const bench = kept();
    pause(bench);
    bench.submit({ stageId: 'b1' }, {}, 150);
    bench.submit({ stageId: 'a2', workflowId: 'a' }, {}, 200);
    bench.capacity(1);
    expect(bench.dispatch(200)).toEqual(['b1']);
    bench.capacity(4, { maxKvTokens: 10 });
    expect(bench.dispatch(2_200)).toEqual([]);
  });

  it('keeps nothing for a workflow past its deadline while others wait', () => {
    const bench = kept();
    bench.submit({ stageId: 'b1' });
    expect(pause(bench, 50)).toBeUndefined();
    expect(pause(kept(), 50)).toBeDefined();
  });
});
