import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { turnRuleWaitMs } from './turn-rule.js';
import { leastTurnWaitMs, type TurnCall, type TurnModel } from './turns.js';
import { plannedTurnWaitMs } from './turns-online.js';

/** a is empty at 1,000 and b awake at 1,800; then a again, which has waited since 1,500. */
const RULED = [
  { atMs: 0, model: 'a' },
  { atMs: 500, model: 'b' },
  { atMs: 1_500, model: 'a' },
];

const model = (name: string, changes: Partial<TurnModel> = {}): TurnModel => ({
  ...{ name, serviceMs: 1_000, sleepMs: 300, wakeMs: 500, bytes: 1, awake: name === 'a' },
  ...changes,
});
const MODELS = [model('a'), model('b'), model('c', { serviceMs: 400, sleepMs: 100, wakeMs: 900 })];
/** Of 4: a and b together, or one of them beside c or d; d and c and a. */
const SIZES = [
  model('a', { bytes: 2 }),
  model('b', { bytes: 2, serviceMs: 700 }),
  model('c', { bytes: 1, serviceMs: 400, sleepMs: 100, wakeMs: 900, awake: true }),
  model('d', { bytes: 1, sleepMs: 200, wakeMs: 300 }),
];

/** A model in memory: from when on, how long its calls run, and until when if it has been put to sleep. */
interface Stay {
  readonly model: TurnModel;
  readonly fromMs: number;
  readonly readyMs: number;
  readonly endMs: number;
  readonly goneMs?: number;
}

/** Tries every order in which calls could be given to the GPU, each as soon as it can start, and every choice of who sleeps for it. */
function byTrial(calls: readonly TurnCall[], models: readonly TurnModel[], capacity: number): number {
  let best = Number.POSITIVE_INFINITY;
  const go = (left: readonly TurnCall[], stays: readonly Stay[], waitMs: number): void => {
    if (waitMs >= best) return;
    if (left.length === 0) {
      best = waitMs;
      return;
    }
    const seen = new Set<string>();
    for (const call of left) {
      if (seen.has(`${call.model} ${call.atMs}`)) continue;
      seen.add(`${call.model} ${call.atMs}`);
      const rest = left.filter((other) => other !== call);
      const called = models.find(({ name }) => name === call.model)!;
      const give = (others: readonly Stay[], stay: Stay): void => {
        const startMs = Math.max(stay.readyMs, call.atMs);
        const endMs = Math.max(stay.endMs, startMs + called.serviceMs);
        go(rest, [...others, { ...stay, endMs }], waitMs + startMs - call.atMs);
      };
      const open = stays.filter(({ goneMs }) => goneMs === undefined);
      const there = open.find((stay) => stay.model === called);
      if (there)
        give(
          stays.filter((stay) => stay !== there),
          there,
        );
      for (let choice = 0; choice < 1 << open.length; choice++) {
        const after = stays.map((stay) => {
          const leaves = open.includes(stay) && (choice >> open.indexOf(stay)) & 1;
          return leaves ? { ...stay, goneMs: stay.endMs + stay.model.sleepMs } : stay;
        });
        if (after.some((stay) => stay.model === called && stay.goneMs === undefined)) continue;
        const fromMs = earliestMs(called, after, capacity);
        if (fromMs === undefined) continue;
        const readyMs = fromMs + called.wakeMs;
        give(after, { model: called, fromMs, readyMs, endMs: readyMs });
      }
    }
  };
  const begin = models.filter(({ awake }) => awake);
  go(
    calls,
    begin.map((each) => ({ model: each, fromMs: 0, readyMs: 0, endMs: 0 })),
    0,
  );
  return best;
}

/** From when on there is room for it for good, and it is itself gone. */
function earliestMs(called: TurnModel, stays: readonly Stay[], capacity: number): number | undefined {
  const changes = [0, ...stays.flatMap(({ fromMs, goneMs = 0 }) => [fromMs, goneMs])].sort((a, b) => a - b);
  return changes.find((fromMs) =>
    changes.every((atMs) => {
      if (atMs < fromMs) return true;
      const held = stays.filter((stay) => stay.fromMs <= atMs && (stay.goneMs ?? Number.POSITIVE_INFINITY) > atMs);
      return (
        !held.some((stay) => stay.model === called) &&
        held.reduce((sum, { model: { bytes } }) => sum + bytes, 0) + called.bytes <= capacity
      );
    }),
  );
}

describe('leastTurnWaitMs', () => {
  it('is nothing where only the model is asked for that is awake', () => {
    const calls = [0, 10, 500, 90_000].map((atMs) => ({ atMs, model: 'a' }));
    expect(leastTurnWaitMs(calls, MODELS, 1)).toBe(0);
  });

  it('wakes a model before it is asked for, where there is time', () => {
    expect(leastTurnWaitMs([{ atMs: 800, model: 'b' }], MODELS, 1)).toBe(0);
    expect(leastTurnWaitMs([{ atMs: 700, model: 'b' }], MODELS, 1)).toBe(100);
    // A call of a runs to 1,000 first.
    const both = [
      { atMs: 0, model: 'a' },
      { atMs: 700, model: 'b' },
    ];
    expect(leastTurnWaitMs(both, MODELS, 1)).toBe(1_100);
  });

  it('leaves a call for a later turn where the others wait less for it', () => {
    const late = { atMs: 1_000, model: 'a' };
    const crowd = Array.from({ length: 10 }, () => ({ atMs: 0, model: 'b' }));
    // b is awake from 800 to 1,800; a again at 2,600: the ten wait 800 each, the one 1,600.
    expect(leastTurnWaitMs([...crowd, late], MODELS, 1)).toBe(10 * 800 + 1_600);
  });

  it('is no more than what a rule without foresight comes to, whatever its turns are', () => {
    const call = fc.record({ atMs: fc.integer({ min: 0, max: 30_000 }), model: fc.constantFrom('a', 'b', 'c') });
    const calls = fc.array(call, { minLength: 1, maxLength: 20 });
    let worse = 0;
    fc.assert(
      fc.property(calls, fc.constantFrom(0, 1_000, 5_000, Number.POSITIVE_INFINITY), (some, turnMs) => {
        const [best, ruled] = [leastTurnWaitMs(some, MODELS, 1), turnRuleWaitMs(some, MODELS, turnMs)];
        expect(best).toBeLessThanOrEqual(ruled + 1e-6);
        if (ruled > 1.2 * best) worse += 1;
      }),
      { numRuns: 100 },
    );
    expect(worse).toBeGreaterThan(20);
  });

  it('is what trying all orders finds', () => {
    const call = fc.record({ atMs: fc.integer({ min: 0, max: 6_000 }), model: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 6 }), (calls) => {
        expect(leastTurnWaitMs(calls, MODELS, 1)).toBeCloseTo(byTrial(calls, MODELS, 1), 6);
      }),
      { numRuns: 100 },
    );
  });

  it('is what trying all orders finds where several models fit, of different size', () => {
    const call = fc.record({ atMs: fc.integer({ min: 0, max: 5_000 }), model: fc.constantFrom('a', 'b', 'c', 'd') });
    let waits = 0;
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 5 }), fc.constantFrom(3, 4), (calls, capacity) => {
        const least = leastTurnWaitMs(calls, SIZES, capacity);
        expect(least).toBeCloseTo(byTrial(calls, SIZES, capacity), 6);
        if (least > 0) waits += 1;
      }),
      { numRuns: 100 },
    );
    // Dealt anew in every run: about 30 of a hundred.
    expect(waits).toBeGreaterThan(5);
  });

  it('follows nothing that waits longer than what is known to be possible', () => {
    const calls = [100, 600].map((atMs) => ({ atMs, model: 'b' }));
    expect(leastTurnWaitMs(calls, MODELS, 1)).toBe(700 + 200);
    expect(leastTurnWaitMs(calls, MODELS, 1, 900)).toBe(900);
    expect(leastTurnWaitMs(calls, MODELS, 1, 899)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('plannedTurnWaitMs', () => {
  it('is the least where all calls have come, and never below it', () => {
    const call = fc.record({ atMs: fc.integer({ min: 0, max: 20_000 }), model: fc.constantFrom('a', 'b', 'c', 'd') });
    let more = 0;
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 12 }), (calls) => {
        const [least, planned] = [leastTurnWaitMs(calls, SIZES, 4), plannedTurnWaitMs(calls, SIZES, 4)];
        expect(planned).toBeGreaterThanOrEqual(least - 1e-6);
        if (planned > least + 1) more += 1;
        const atOnce = calls.map(({ model }) => ({ atMs: 0, model }));
        expect(plannedTurnWaitMs(atOnce, SIZES, 4)).toBeCloseTo(leastTurnWaitMs(atOnce, SIZES, 4), 6);
      }),
      { numRuns: 100 },
    );
    expect(more).toBeGreaterThan(20);
  });

  it('does not put a model to sleep, nor wakes one, for a call that has not come', () => {
    // b could have been awake at 5,000.
    expect(plannedTurnWaitMs([{ atMs: 5_000, model: 'b' }], MODELS, 1)).toBe(300 + 500);
  });

  it('stops giving calls to a model that the others wait for', () => {
    // a runs to 1,000; its second call would keep it until 1,900, and the three of b 900 longer.
    const waiting = [100, 100, 100].map((atMs) => ({ atMs, model: 'b' }));
    const calls = [{ atMs: 0, model: 'a' }, ...waiting, { atMs: 900, model: 'a' }];
    // b is awake at 1,800 and empty at 2,800; a again at 3,600.
    expect(plannedTurnWaitMs(calls, MODELS, 1)).toBe(3 * 1_700 + 2_700);
  });
});

describe('turnRuleWaitMs', () => {
  it('empties an engine for those that wait, and lets those of the one that leaves wait in their turn', () => {
    // b waits from 500 to 1,800 and runs to 2,800; a is awake again at 3,600.
    expect(turnRuleWaitMs(RULED, MODELS, 0)).toBe(1_300 + 2_100);
  });

  it('lets a busy engine have its least turn', () => {
    // a serves its second call in the same turn where that may last: it is empty from 1,000 on, and gives way.
    expect(turnRuleWaitMs(RULED, MODELS, Number.POSITIVE_INFINITY)).toBe(1_300 + 2_100);
    const dense = [...RULED, { atMs: 900, model: 'a' }];
    // Busy to 2,500: b waits to 3,300.
    expect(turnRuleWaitMs(dense, MODELS, Number.POSITIVE_INFINITY)).toBe(2_800);
  });
});
