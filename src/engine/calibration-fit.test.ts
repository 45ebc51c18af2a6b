import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { type DecodeSample, fitCosts, type PrefillSample } from './calibration-fit.js';
import { StepCost } from './step-time.js';

const PROMPTS = [128, 512, 2048, 8192];
const BATCHES = [1, 2, 4, 8, 16];
const CONTEXTS = [100, 2000];

function samples(ttftMs: (prompt: number) => number, tpotMs: (batch: number, context: number) => number) {
  const prefill = PROMPTS.map((promptTokens): PrefillSample => ({ promptTokens, ttftMs: ttftMs(promptTokens) }));
  const decode = BATCHES.flatMap((batch) =>
    CONTEXTS.map((contextTokens): DecodeSample => ({ batch, contextTokens, tpotMs: tpotMs(batch, contextTokens) })),
  );
  return fitCosts(prefill, decode);
}

describe('fitCosts', () => {
  it('finds the lines that the samples lie on', () => {
    const cost = fc.double({ min: 1e-4, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 50, noNaN: true }),
        cost,
        cost,
        cost,
        (base, perToken, perSequence, perContext) => {
          const { costs, prefill, decode } = samples(
            (prompt) => base + perToken * prompt,
            (batch, context) => base + perSequence * (batch - 1) + perContext * batch * context,
          );
          expect(costs.requestMs).toBeCloseTo(base, 3);
          expect(costs.prefillMsPerToken).toBeCloseTo(perToken, 6);
          expect(costs.stepMs).toBeCloseTo(base, 3);
          expect(costs.stepMsPerSequence).toBeCloseTo(perSequence, 4);
          expect(costs.stepMsPerContextToken).toBeCloseTo(perContext, 6);
          expect(Math.max(prefill.largest, decode.largest)).toBeLessThan(1e-4);
        },
      ),
    );
  });

  it('never makes work cost less than nothing', () => {
    const { costs } = samples(
      (prompt) => 10 - prompt / 10_000,
      (batch) => 20 - batch / 10,
    );
    for (const value of Object.values(costs)) expect(value).toBeGreaterThanOrEqual(0);
    expect(costs.stepMsPerSequence).toBe(0);
  });

  it('leaves out answers that a busy client read at once, and refuses where too few are left', () => {
    const line = (batch: number) => 20 + batch;
    const { costs } = samples(
      (prompt) => 10 + prompt / 100,
      (batch, context) => (batch === 2 && context === 100 ? 0 : line(batch)),
    );
    expect(costs.stepMs).toBeCloseTo(line(1), 3);
    expect(() =>
      samples(
        () => 10,
        () => 0,
      ),
    ).toThrow(/too busy to measure/);
  });

  it('tells how far it is off where the engine is no straight line', () => {
    const { decode } = samples(
      (prompt) => prompt,
      (batch) => (batch > 4 ? 40 : 10),
    );
    expect(decode.median).toBeGreaterThan(0.05);
    expect(decode.largest).toBeGreaterThan(decode.median);
  });

  it('is within a tenth of the step-time model over the range that was measured', () => {
    const cost = new StepCost({
      llm: findLlm('llama-3.1-8b')!,
      gpu: findGpu('h100-sxm')!,
      tp: 1,
      weightDtype: 'bf16',
      kvDtype: 'bf16',
    });
    const { prefill, decode } = samples(
      (prompt) => cost.prefillMs(prompt),
      (batch, context) => cost.decodeMs(batch, context),
    );
    expect(decode.largest).toBeLessThan(0.1);
    expect(prefill.median).toBeLessThan(0.15);
  });
});
