import { describe, expect, it } from 'vitest';
import { fitConstants } from './fit.js';

/** Reading and computing at unknown rates: what a step of `tokens` takes. */
const stepMs = ({ readMs, tokenMs }: Record<'readMs' | 'tokenMs', number>, tokens: number) =>
  Math.max(readMs, tokenMs * tokens);
const TRUE = { readMs: 7, tokenMs: 0.03 };
const error = (constants: typeof TRUE) =>
  [1, 64, 200, 300, 1000].reduce(
    (sum, tokens) => sum + Math.abs(Math.log(stepMs(constants, tokens) / stepMs(TRUE, tokens))),
    0,
  );

describe('fitConstants', () => {
  it('finds the constants that the measurements were made with, from far away', () => {
    const { readMs, tokenMs } = fitConstants({ start: { readMs: 1, tokenMs: 1 }, error });
    expect(readMs / TRUE.readMs).toBeCloseTo(1, 1);
    expect(tokenMs / TRUE.tokenMs).toBeCloseTo(1, 1);
  });

  it('does not exceed what is possible', () => {
    const { readMs, tokenMs } = fitConstants({ start: { readMs: 1, tokenMs: 1 }, most: { readMs: 5 }, error });
    expect(readMs).toBe(5);
    expect(tokenMs / TRUE.tokenMs).toBeCloseTo(1, 1);
  });
});
