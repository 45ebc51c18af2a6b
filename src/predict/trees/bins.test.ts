import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../model/rng.js';
import { type BinnedColumn, binFeatures, binOf, canSplit } from './bins.js';

const MISSING = Number.NaN;

function binOne(values: number[], maxBins = 255, isCode = false): BinnedColumn {
  const data = {
    rows: values.length,
    columns: ['x'],
    values: Float64Array.from(values),
    categorical: [isCode],
  };
  return binFeatures(data, maxBins).binned[0]!;
}

function repeat(value: number, times: number): number[] {
  return Array.from({ length: times }, () => value);
}

describe('binFeatures', () => {
  it.each<[string, number[], number[], number | undefined]>([
    ['few values: a limit between each two', [...repeat(1, 3), ...repeat(2, 3), ...repeat(8, 3)], [1.5, 5], undefined],
    ['rare values share a bin with the next', [1, 2, 2, 3, 3, 3, 4, 4, 4], [2.5, 3.5], undefined],
    ['missing values have the last bin', [...repeat(1, 3), ...repeat(2, 3), MISSING], [1.5], 2],
    ['nothing but missing values', repeat(MISSING, 5), [], 1],
    ['one value', repeat(7, 5), [], undefined],
    [
      'infinities are values',
      [...repeat(Number.NEGATIVE_INFINITY, 3), ...repeat(0, 3)],
      [Number.NEGATIVE_INFINITY],
      undefined,
    ],
    ['no rows', [], [], undefined],
  ])('%s', (_, values, limits, missingBin) => {
    const column = binOne(values);
    expect([...column.limits]).toEqual(limits);
    expect(column.missingBin).toBe(missingBin);
  });

  it('gives every code a bin of its own, however rare', () => {
    expect([...binOne([0, 1, 2, 2, 2, 2], 255, true).limits]).toEqual([0.5, 1.5]);
  });

  it('cuts many values into bins of about equal counts, and leaves frequent ones alone', () => {
    const rng = new SeededRng(1);
    const values = [...Array.from({ length: 9000 }, () => rng.next() * rng.next()), ...repeat(0.25, 3000)];
    const column = binOne(values, 64);
    const rows = new Int32Array(column.bins);
    for (const code of column.codes) rows[code]!++;
    expect(column.bins).toBe(64);
    const ofFrequent = binOf(column, Math.fround(0.25));
    rows.forEach((count, bin) => {
      if (bin === ofFrequent) expect(count).toBeGreaterThanOrEqual(3000);
      else expect(count).toBeLessThan(300);
    });
  });

  it('puts a limit between neighbours that differ in the last digit of a float32', () => {
    const above = 1 + 2 ** -23;
    const column = binOne([...repeat(1, 3), ...repeat(above, 3)]);
    expect(column.limits).toHaveLength(1);
    expect(column.limits[0]).toBeGreaterThanOrEqual(1);
    expect(column.limits[0]).toBeLessThan(above);
    expect(Math.fround(column.limits[0]!)).toBe(column.limits[0]);
  });

  it('refuses more bins than a byte can count', () => {
    expect(() => binOne([1, 2], 300)).toThrow(/maxBins/);
  });
});

describe('canSplit', () => {
  it.each<[string, number[], boolean]>([
    ['two values', [...repeat(1, 3), ...repeat(2, 3)], true],
    ['a value and missing', [...repeat(1, 3), MISSING], true],
    ['one value', repeat(1, 3), false],
    ['only missing', repeat(MISSING, 3), false],
  ])('%s', (_, values, expected) => {
    expect(canSplit(binOne(values))).toBe(expected);
  });
});
