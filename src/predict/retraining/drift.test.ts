import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../model/rng.js';
import { DriftWatch } from './drift.js';

/** Calls whose true length is so many times what was said, give or take a half; answers after which of them drift was told. */
function play(watch: DriftWatch, calls: number, factor: number, rng: SeededRng): number[] {
  return Array.from({ length: calls }, (_, call) => call).filter(() =>
    watch.observe(200, 200 * factor * Math.exp(rng.next() - 0.5)),
  );
}

describe('DriftWatch', () => {
  it('is silent while calls err as they always did', () => {
    const watch = new DriftWatch();
    expect(play(watch, 20_000, 1, new SeededRng(1))).toEqual([]);
  });

  it('tells of answers that have become twice as long within two hundred calls, once', () => {
    const watch = new DriftWatch();
    const rng = new SeededRng(2);
    play(watch, 2000, 1, rng);
    const told = play(watch, 3000, 2, rng);
    expect(told).toHaveLength(1);
    expect(told[0]).toBeLessThan(200);
  });

  it('takes a model that was always bad for what is usual', () => {
    expect(play(new DriftWatch(), 5000, 5, new SeededRng(3))).toEqual([]);
  });
});
