import { expect, it } from 'vitest';
import type { EngineCounters } from './actions.js';
import { Pace } from './pace.js';

const counters = (running: number, generatedTokens?: number): EngineCounters => ({
  ...{ running, generatedTokens, waiting: 0, preemptionsTotal: 0, kvUsage: 0 },
});

/** Four calls under way, and readings a second apart with so many tokens for each of them. */
function read(pace: Pace, perSecond: readonly number[]): void {
  let tokens = 0;
  pace.taken(4, 0);
  pace.observe(counters(4, tokens), 0, 0);
  perSecond.forEach((each, index) => {
    tokens += 4 * each;
    pace.observe(counters(4, tokens), 100 * index, 1_000 * (index + 1));
  });
}
const TWELVE_AT_50 = Array.from({ length: 12 }, () => 50);

it('takes the shortest step of the last readings, which prompts have lengthened least', () => {
  const pace = new Pace();
  read(pace, [20, 50, 10, 40, 40, 40, 40, 40, 40, 40, 40]);
  expect(pace.shortest).toBeUndefined();
  const whole = new Pace();
  read(whole, [20, 50, 10, 40, 40, 40, 40, 40, 40, 40, 40, 40]);
  expect(whole.shortest).toMatchObject({ stepMs: 20, sequences: 4, contextTokens: 100 });
});

it('is not misled by calls that come and go between two readings', () => {
  const pace = new Pace();
  let tokens = 0;
  for (let second = 0; second < 13; second++) {
    const atMs = 1_000 * second;
    pace.observe(counters(0, tokens), 0, atMs);
    pace.taken(20, atMs + 100);
    pace.taken(0, atMs + 600);
    tokens += 20 * 10;
  }
  pace.taken(1, 13_000);
  expect(pace.shortest).toMatchObject({ stepMs: 50, sequences: 10 });
});

it('says nothing where the engine does not tell, is idle, serves others too, or is seldom read', () => {
  const all = [0, 1, 2, 3].map(() => new Pace());
  const [silent, idle, shared, rare] = all as [Pace, Pace, Pace, Pace];
  for (const pace of [silent, shared, rare]) pace.taken(2, 0);
  for (let second = 0; second < 100; second++) {
    silent.observe(counters(2), 0, 1_000 * second);
    idle.observe(counters(0, 10), 0, 1_000 * second);
    shared.observe(counters(3, 90 * second), 0, 1_000 * second);
    if (second % 6 === 0) rare.observe(counters(2, 60 * second), 0, 1_000 * second);
  }
  expect(all.map((pace) => pace.shortest)).toEqual([undefined, undefined, undefined, undefined]);
});

it('tells nothing while the engine is idle, and forgets at a new process', () => {
  const pace = new Pace();
  read(pace, TWELVE_AT_50);
  pace.taken(0, 12_500);
  expect(pace.shortest).toBeUndefined();
  pace.taken(1, 60_000);
  expect(pace.shortest).toMatchObject({ stepMs: 20 });
  pace.reset();
  expect(pace.shortest).toBeUndefined();
});
