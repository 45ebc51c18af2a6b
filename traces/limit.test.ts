import { expect, it } from 'vitest';
import { limitAbove } from './limit.js';

it('a limit leaves room for the recorded answer, and does not tell its length', () => {
  expect([0, 1, 4096].map((tokens) => limitAbove(4096, tokens))).toEqual([4096, 4096, 4096]);
  expect([4097, 5000, 8192, 8193, 12_700].map((tokens) => limitAbove(4096, tokens))).toEqual([
    8192, 8192, 8192, 16_384, 16_384,
  ]);
});
