import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leastColdStartMs, type ModelCall, type ResidentModel } from './residency.js';

const model = (bytes: number, wakeMs: number, awake = false): ResidentModel => ({ bytes, wakeMs, awake });

/** The least waiting when every call is served at once: over all sets of models that could be there after each call. */
function exactMs(calls: readonly ModelCall[], models: ReadonlyMap<string, ResidentModel>, capacity: number): number {
  const names = [...models.keys()];
  const sizeOf = (set: number) =>
    names.reduce((sum, name, at) => sum + (set & (1 << at) ? models.get(name)!.bytes : 0), 0);
  const begin = names.reduce((set, name, at) => set | (models.get(name)!.awake ? 1 << at : 0), 0);
  let costs = new Map([[begin, 0]]);
  for (const call of calls) {
    const bit = 1 << names.indexOf(call.model);
    const next = new Map<number, number>();
    for (const [there, costMs] of costs) {
      const nowMs = costMs + (there & bit ? 0 : models.get(call.model)!.wakeMs);
      for (let set = 0; set < 1 << names.length; set++) {
        if (!(set & bit) || set & ~(there | bit) || sizeOf(set) > capacity) continue;
        next.set(set, Math.min(next.get(set) ?? Number.POSITIVE_INFINITY, nowMs));
      }
    }
    costs = next;
  }
  return Math.min(...costs.values());
}

describe('leastColdStartMs', () => {
  const two = (awake: boolean) =>
    new Map([
      ['a', model(6, 400, awake)],
      ['b', model(6, 300)],
    ]);
  const alternating = Array.from({ length: 20 }, (_, at) => ({ atMs: at * 10_000, model: at % 2 ? 'b' : 'a' }));

  it('counts every wake where two models that do not fit take turns, far apart in time', () => {
    expect(exactMs(alternating, two(true), 10)).toBe(9 * 400 + 10 * 300);
    // In parts, two thirds of each could stay.
    const bound = leastColdStartMs(alternating, two(true), 10);
    expect(bound).toBeGreaterThan(1_000);
    expect(bound).toBeLessThanOrEqual(9 * 400 + 10 * 300);
  });

  it('is every wake where nothing fits beside another', () => {
    const models = new Map([
      ['a', model(10, 400, true)],
      ['b', model(10, 300)],
    ]);
    const all = 9 * 400 + 10 * 300;
    const bound = leastColdStartMs(alternating, models, 10);
    expect(bound).toBeLessThanOrEqual(all);
    expect(bound).toBeGreaterThan(0.45 * all);
  });

  it('is one wake each where all fit, and nothing where all were awake', () => {
    expect(leastColdStartMs(alternating, two(false), 12)).toBeCloseTo(700, 6);
    expect(leastColdStartMs(alternating, two(true), 12)).toBeCloseTo(300, 6);
  });

  it('knows that a call may be let wait rather than a model be moved twice', () => {
    const models = new Map([
      ['a', model(10, 400, true)],
      ['b', model(10, 400)],
    ]);
    const close = ['a', 'b', 'a'].map((name, at) => ({ atMs: at, model: name }));
    expect(exactMs(close, models, 10)).toBe(800);
    // b waits for a millisecond and its wake; a stays until it has been called again.
    expect(leastColdStartMs(close, models, 10)).toBeLessThanOrEqual(401);
    expect(leastColdStartMs(close, models, 10)).toBeGreaterThanOrEqual(400);
  });

  it('is never above the best that can be done', () => {
    const names = ['a', 'b', 'c', 'd'];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 900 }), fc.boolean()), {
          minLength: 4,
          maxLength: 4,
        }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3_000 })), { maxLength: 14 }),
        fc.integer({ min: 10, max: 25 }),
        (given, steps, capacity) => {
          let room = capacity;
          const models = new Map(
            given.map(([bytes, wakeMs, wanted], at) => {
              const awake = wanted && bytes <= room;
              if (awake) room -= bytes;
              return [names[at]!, model(bytes, wakeMs, awake)];
            }),
          );
          let atMs = 0;
          const calls = steps.map(([which, gapMs]) => {
            atMs += gapMs;
            return { atMs, model: names[which]! };
          });
          expect(leastColdStartMs(calls, models, capacity)).toBeLessThanOrEqual(
            exactMs(calls, models, capacity) + 1e-6,
          );
        },
      ),
      { numRuns: 200 },
    );
  });
});
