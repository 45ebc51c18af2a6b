import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatGib,
  formatKvSeconds,
  formatMs,
  formatNumber,
  formatPercent,
  formatRate,
  formatRatio,
} from './format.js';

describe('formats', () => {
  it.each([
    [0, '0 s'],
    [0.4216, '0.422 ms'],
    [42.18, '42.2 ms'],
    [999, '999 ms'],
    [999.7, '1 s'],
    [2_436, '2.44 s'],
    [59_990, '1 min'],
    [200_000, '3 min 20 s'],
    [3_599_600, '1 h'],
    [7_500_000, '2 h 5 min'],
    [3 * 86_400_000, '3 d'],
    [-1_500, '−1.5 s'],
    [null, '–'],
    [Number.NaN, '–'],
    [undefined, '–'],
  ])('formatMs(%s) is %s', (ms, text) => {
    expect(formatMs(ms)).toBe(text);
  });

  it.each([
    [0, '0 %'],
    [1, '100 %'],
    [0.98449, '98.4 %'],
    [0.99999, '> 99.9 %'],
    [0.00001, '< 0.1 %'],
    [null, '–'],
  ])('formatPercent(%s) is %s', (share, text) => {
    expect(formatPercent(share)).toBe(text);
  });

  it.each([
    [formatNumber(1_633), '1633'],
    [formatNumber(12_345), '12.3 k'],
    [formatNumber(999_700), '1 M'],
    [formatNumber(Number.POSITIVE_INFINITY), '–'],
    [formatBytes(80e9), '80 GB'],
    [formatBytes(12), '12 B'],
    [formatGib(80 * 2 ** 30), '80 GiB'],
    [formatKvSeconds(2.1e12, 'bytes'), '2.1 TB·s'],
    [formatKvSeconds(2.1e6, 'tokens'), '2.1 M tokens·s'],
    [formatRate(3.21), '3.21 /s'],
    [formatRate(0.2), '12 /min'],
    [formatRate(0.001), '3.6 /h'],
    [formatRate(0), '0 /s'],
    [formatRate(0.2, 3), '0.2 /s'],
    [formatRate(0, 0.2), '0 /min'],
    [formatRate(0.001, 0.2), '0.06 /min'],
    [formatRatio(1.8), '1.8×'],
  ])('%s', (actual, expected) => {
    expect(actual).toBe(expected);
  });
});
