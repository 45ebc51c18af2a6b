import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { turnRuleWaitMs } from './turn-rule.js';
import { leastTurnWaitMs, type TurnCall, type TurnModel } from './turns.js';

/** a is empty at 1,000 and b awake at 1,800; then a again, which has waited since 1,500. */
const RULED = [
  { atMs: 0, model: 'a' },
  { atMs: 500, model: 'b' },
  { atMs: 1_500, model: 'a' },
];

const model = (name: string, serviceMs = 1_000, sleepMs = 300, wakeMs = 500): TurnModel => ({
  ...{ name, serviceMs, sleepMs, wakeMs },
});
const MODELS = [model('a'), model('b'), model('c', 400, 100, 900)];

/** Tries every order in which calls could be given to the GPU, each as soon as it can start. */
function byTrial(calls: readonly TurnCall[], models: readonly TurnModel[]): number {
  let best = Number.POSITIVE_INFINITY;
  const go = (left: readonly TurnCall[], awake: TurnModel, readyMs: number, endMs: number, waitMs: number): void => {
    if (waitMs >= best) return;
    if (left.length === 0) {
      best = waitMs;
      return;
    }
    for (const call of left) {
      const next = models.find(({ name }) => name === call.model)!;
      const sameTurn = next === awake;
      const ready = sameTurn ? readyMs : endMs + awake.sleepMs + next.wakeMs;
      const startMs = Math.max(ready, call.atMs);
      const end = Math.max(sameTurn ? endMs : 0, startMs + next.serviceMs);
      go(
        left.filter((other) => other !== call),
        next,
        ready,
        end,
        waitMs + startMs - call.atMs,
      );
    }
  };
  go(calls, models[0]!, 0, 0, 0);
  return best;
}

describe('leastTurnWaitMs', () => {
  it('is nothing where only the model is asked for that is awake', () => {
    const calls = [0, 10, 500, 90_000].map((atMs) => ({ atMs, model: 'a' }));
    expect(leastTurnWaitMs(calls, MODELS)).toBe(0);
  });

  it('wakes a model before it is asked for, where there is time', () => {
    expect(leastTurnWaitMs([{ atMs: 800, model: 'b' }], MODELS)).toBe(0);
    expect(leastTurnWaitMs([{ atMs: 700, model: 'b' }], MODELS)).toBe(100);
    // A call of a runs to 1,000 first.
    const both = [
      { atMs: 0, model: 'a' },
      { atMs: 700, model: 'b' },
    ];
    expect(leastTurnWaitMs(both, MODELS)).toBe(1_100);
  });

  it('leaves a call for a later turn where the others wait less for it', () => {
    const late = { atMs: 1_000, model: 'a' };
    const crowd = Array.from({ length: 10 }, () => ({ atMs: 0, model: 'b' }));
    // b is awake from 800 to 1,800; a again at 2,600: the ten wait 800 each, the one 1,600.
    expect(leastTurnWaitMs([...crowd, late], MODELS)).toBe(10 * 800 + 1_600);
  });

  it('is no more than what a rule without foresight comes to, whatever its turns are', () => {
    const call = fc.record({ atMs: fc.integer({ min: 0, max: 30_000 }), model: fc.constantFrom('a', 'b', 'c') });
    const calls = fc.array(call, { minLength: 1, maxLength: 20 });
    let worse = 0;
    fc.assert(
      fc.property(calls, fc.constantFrom(0, 1_000, 5_000, Number.POSITIVE_INFINITY), (some, turnMs) => {
        const [best, ruled] = [leastTurnWaitMs(some, MODELS), turnRuleWaitMs(some, MODELS, turnMs)];
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
        expect(leastTurnWaitMs(calls, MODELS)).toBeCloseTo(byTrial(calls, MODELS), 6);
      }),
      { numRuns: 200 },
    );
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
