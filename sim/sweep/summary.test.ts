import { describe, expect, it } from 'vitest';
import { estimate, pairedDifference, summarise } from './summary.js';
import type { RunRow } from './types.js';

const row = (policy: string, seed: number, attainment: number) =>
  ({
    ...{ workload: 'w', deadlineRule: 'class', policy, load: 1, seed, attainment, bound: 1, goodputPerSecond: 1 },
    ...{ placement: 'maestro', reservation: 'predicted', prediction: 'online', goodputPerGpuHour: 1, fairness: 0.5 },
    kv: { reservedByteSeconds: 3 * seed, maxTokenByteSeconds: 12, usedByteSeconds: 2, nodeOverflowRate: 0.01 * seed },
    ...{ coldStarts: { count: seed, requestSeconds: 10 * seed }, preemptions: seed, cachedShare: 0.1 * seed },
    slowdown: { p50: 1, p99: 2, max: 3, cdf: [0, 1] },
    ...{ attainmentByClass: { a: attainment }, worstWaitSecondsByClass: {} },
  }) as unknown as RunRow;

describe('intervals', () => {
  it.each([
    // The two-sided 95 % quantile of Student's t, times the standard error.
    [[1, 3], 2, 12.706 * 1],
    [[1, 2, 3], 2, 4.303 * Math.sqrt(1 / 3)],
    [[0.9, 0.8, 0.7, 0.9, 0.8], 0.82, 2.776 * Math.sqrt(0.007 / 5)],
    [[5], 5, 0],
    [[], 0, 0],
  ])('of %j', (values, mean, ci95) => {
    const found = estimate(values);
    expect(found.mean).toBeCloseTo(mean, 9);
    expect(found.ci95).toBeCloseTo(ci95, 9);
  });

  it('of very many are those of the normal distribution', () => {
    const many = Array.from({ length: 400 }, (_, index) => index % 2);
    expect(estimate(many).ci95).toBeCloseTo((1.96 * 0.5) / Math.sqrt(399), 4);
  });

  it('of a difference are over seeds that both have', () => {
    const [ours, theirs] = [
      [row('maestro', 1, 0.9), row('maestro', 2, 0.6), row('maestro', 3, 0.5)],
      [row('edf', 2, 0.5), row('edf', 1, 0.8)],
    ];
    const { mean, ci95 } = pairedDifference(ours, theirs);
    expect(mean).toBeCloseTo(0.1, 9);
    expect(ci95).toBeCloseTo(0, 9);
  });
});

it('a cell is the mean of its seeds, figure by figure, and other policies are other cells', () => {
  const cells = summarise([row('edf', 1, 0.4), row('fcfs', 1, 0.1), row('edf', 2, 0.6)]);
  expect(cells.map(({ policy, seeds }) => [policy, seeds])).toEqual([
    ['edf', 2],
    ['fcfs', 1],
  ]);
  const [edf] = cells;
  expect(edf!.attainment.mean).toBeCloseTo(0.5, 9);
  expect(edf!.attainment.ci95).toBeCloseTo(12.706 * 0.1, 9);
  const means = [edf!.attainmentByClass['a']!, edf!.reservedOfMaxToken, edf!.reservedOfUsed, edf!.nodeOverflowRate];
  expect(means.map(({ mean }) => mean)).toEqual([0.5, 0.375, 2.25, 0.015]);
  const others = [edf!.coldStartSeconds, edf!.preemptions, edf!.cachedShare, edf!.fairness, edf!.slowdownP99];
  expect(others.map(({ mean }) => Number(mean.toFixed(9)))).toEqual([15, 1.5, 0.15, 0.5, 2]);
});
