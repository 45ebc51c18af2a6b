import { describe, expect, it } from 'vitest';
import { GiB, TB } from '../model/units.js';
import { formatBytes, parseQuantity, type QuantityKind } from './quantity.js';

describe('parseQuantity', () => {
  it.each<[QuantityKind, string, number | undefined]>([
    ['bytes', '80GiB', 80 * GiB],
    ['bytes', '20GB', 20e9],
    ['bytes', ' 1.5 tib ', 1.5 * 1024 * GiB],
    ['bytes', '0.3B', 0],
    ['bytes', '100', undefined],
    ['bytes', '5s', undefined],
    ['bytes', '-5GB', undefined],
    ['duration', '500ms', 500],
    ['duration', '30s', 30_000],
    ['duration', '2m', 120_000],
    ['duration', '1.5h', 5_400_000],
    ['duration', '1d', 86_400_000],
    ['duration', '2 minutes', undefined],
    ['rate', '3.35TB/s', 3.35 * TB],
    ['rate', '3.35TB', undefined],
    ['flops', '989TFLOPS', 989e12],
  ])('%s %j is %d', (kind, text, expected) => {
    expect(parseQuantity(kind, text)).toBe(expected);
  });
});

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1536, '1.5 KiB'],
    [80 * GiB, '80 GiB'],
    [79.64 * GiB, '79.6 GiB'],
    [132.4 * GiB, '132 GiB'],
    [2048 * GiB, '2 TiB'],
  ])('%d is %s', (bytes, expected) => {
    expect(formatBytes(bytes)).toBe(expected);
  });
});
