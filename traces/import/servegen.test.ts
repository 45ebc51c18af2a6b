import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { fieldsOf, importFiles, sourceFile } from './import-fixture.js';
import { drawArrivals, Histogram, parseWindows, type RateWindow, windowLengthS } from './servegen-fits.js';

const csv = '0,0.01,1,Gamma,0.5,200\n600,0,0,,0,0\n1200,0.02,2,Weibull,0.5,20\r\n';
const record = {
  '0': { input_tokens: '{10: 0.5, 20: 0.5}', output_tokens: '{7: 1.0}', reason_ratio: '{0.5: 1.0}' },
  '21600': { input_tokens: '{}', output_tokens: '{}', reason_ratio: '{}' },
};
const traces = (...names: string[]) =>
  sourceFile('t.jsonl', ...names.map((name) => ({ _file: `data/${name}-trace.csv`, csv })));
const lengths = (...names: string[]) =>
  sourceFile('d.jsonl', ...names.map((name) => ({ _file: `data/${name}-dataset.json`, record })));

describe('servegen-deepseek-r1', () => {
  it('draws as many requests as each window holds, with lengths of the client', async () => {
    const trace = await importFiles('servegen-deepseek-r1', [
      lengths('chunk-10', 'chunk-2'),
      traces('chunk-2', 'chunk-10'),
    ]);
    const times = trace.rows.map(({ timestamp }) => timestamp!);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times.filter((at) => at <= 600_000)).toHaveLength(12);
    expect(times.filter((at) => at >= 1_200_000 && at <= 1_800_000)).toHaveLength(24);
    expect(new Set(trace.rows.map(({ input_length }) => input_length))).toEqual(new Set([10, 20]));
    expect(new Set(fieldsOf(trace, 'output_length', 'model').map(String))).toEqual(new Set(['7,deepseek-r1']));
    expect(trace.rows.filter(({ tenant }) => tenant === 'chunk-10')).toHaveLength(18);
    expect(trace.rows[0]!.derived).toEqual([
      'timestamp:sample:window-fit',
      'input_length:sample:histogram',
      'output_length:sample:histogram',
    ]);
  });

  it('depends on the seed, not on the order of the files; a limit takes the first', async () => {
    const files = [traces('chunk-1', 'chunk-2'), lengths('chunk-1', 'chunk-2')];
    const whole = await importFiles('servegen-deepseek-r1', files);
    const turned = [lengths('chunk-2', 'chunk-1'), traces('chunk-2', 'chunk-1')];
    expect(await importFiles('servegen-deepseek-r1', turned)).toEqual(whole);
    expect((await importFiles('servegen-deepseek-r1', files, { seed: 2 })).rows).not.toEqual(whole.rows);
    const limited = await importFiles('servegen-deepseek-r1', files, { limitWorkflows: 5 });
    expect(limited.rows).toEqual(whole.rows.slice(0, 5));
  });

  it('reads upstream files, and leaves out clients of which half is missing', async () => {
    const files = [
      sourceFile('chunk-3-trace.csv', ...csv.split('\n')),
      sourceFile('chunk-3-dataset.json', ...JSON.stringify(record, null, 1).split('\n')),
      sourceFile('chunk-4-trace.csv', ...csv.split('\n')),
    ];
    const { rows } = await importFiles('servegen-deepseek-r1', files);
    expect(rows).toHaveLength(18);
    expect(new Set(rows.map(({ tenant }) => tenant))).toEqual(new Set(['chunk-3']));
    await expect(importFiles('servegen-deepseek-r1', [sourceFile('x.csv', 'a,b')])).rejects.toThrow(
      'x.csv: line 1: not rows',
    );
  });
});

describe('arrivals of a window', () => {
  const variation = (gaps: readonly number[]) => {
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    return Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length) / mean;
  };
  // A gamma gap varies by 1 / √shape, a Weibull gap of shape 0.5 by √5.
  it.each<[RateWindow['family'], number, number]>([
    ['gamma', 4, 0.5],
    ['gamma', 0.25, 2],
    ['weibull', 0.5, Math.sqrt(5)],
    ['weibull', 1, 1],
    ['exponential', 1, 1],
  ])('%s of shape %f varies by %f', (family, shape, expected) => {
    const window = { startS: 0, requestsPerSecond: 50, family, shape };
    const arrivals = drawArrivals(window, 1000, new SeededRng(4));
    expect(arrivals).toHaveLength(50_000);
    expect(arrivals.at(-1)).toBeLessThanOrEqual(1000);
    const gaps = arrivals.map((at, index) => at - (arrivals[index - 1] ?? 0));
    expect(variation(gaps) / expected).toBeCloseTo(1, 1);
  });

  it('survives shapes so small that every gap underflows', () => {
    const window = { startS: 0, requestsPerSecond: 0.01, family: 'gamma', shape: 1e-9 } as const;
    const arrivals = drawArrivals(window, 600, new SeededRng(1));
    expect(arrivals).toHaveLength(6);
    expect(arrivals.every((at) => at >= 0 && at <= 600)).toBe(true);
  });

  it.each([
    ['0,0.5,1,Gamma,2,3', { startS: 0, requestsPerSecond: 0.5, family: 'gamma', shape: 2 }],
    ['600,0.5,1,Weibull,0.4,3\r', { startS: 600, requestsPerSecond: 0.5, family: 'weibull', shape: 0.4 }],
    ['0,0,0,,0,0', { startS: 0, requestsPerSecond: 0, family: 'exponential', shape: 1 }],
  ])('are read from %j', (line, window) => {
    expect(parseWindows(line)).toEqual([window]);
  });

  it('are put in order, and are no longer where one is missing', () => {
    const windows = parseWindows('1800,1,1,,,\n0,1,1,,,\n600,1,1,,,\n600,1,1,,,')!;
    expect(windows.map(({ startS }) => startS)).toEqual([0, 600, 1800]);
    expect(windowLengthS(windows, 60)).toBe(600);
    expect(windowLengthS(windows.slice(0, 1), 60)).toBe(60);
    expect(parseWindows('0,1e12,1,,,')).toBeUndefined();
  });
});

describe('histogram', () => {
  it('draws values by their weights', () => {
    const rng = new SeededRng(2);
    const histogram = Histogram.parse('{1: 0.25, 2: 0.0, 5: 7.5e-1}')!;
    const drawn = Array.from({ length: 10_000 }, () => histogram.draw(rng));
    expect(drawn.filter((value) => value === 1).length / 10_000).toBeCloseTo(0.25, 1);
    expect(new Set(drawn)).toEqual(new Set([1, 5]));
    expect(Histogram.parse('{}')).toBeUndefined();
  });
});
