import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LLM_CATALOGUE } from './llm-catalogue.js';
import {
  kvBytesForSequence,
  kvBytesPerToken,
  kvBytesPerTokenLayer,
  kvPoolTokens,
  weightBytesPerGpu,
} from './memory.js';

const llms = fc.constantFrom(...LLM_CATALOGUE);
const tps = fc.constantFrom(1, 2, 4, 8, 16);
const kvDtypes = fc.constantFrom('bf16' as const, 'fp8' as const);
const lengths = fc.integer({ min: 1, max: 300_000 });

describe('memory formulas', () => {
  it('more GPUs never hold more each, nor less than their share', () => {
    fc.assert(
      fc.property(llms, kvDtypes, tps, (llm, dtype, tp) => {
        const alone = kvBytesPerToken(llm, dtype, 1);
        const shared = kvBytesPerToken(llm, dtype, tp);
        expect(shared).toBeLessThanOrEqual(alone);
        expect(shared * tp).toBeGreaterThanOrEqual(alone);
        if (llm.mla) expect(shared).toBe(alone);
        else if (tp <= llm.kvHeads) expect(shared * tp).toBeCloseTo(alone, 6);
      }),
    );
  });

  it('a sequence grows with its length, by whole blocks, and by the growing part alone once it is long', () => {
    fc.assert(
      fc.property(llms, kvDtypes, tps, lengths, (llm, dtype, tp, tokens) => {
        const bytes = kvBytesForSequence(llm, tokens, dtype, tp);
        const next = kvBytesForSequence(llm, tokens + 1, dtype, tp);
        if (tokens % 16 !== 0) expect(next).toBe(bytes);
        else expect(next).toBeGreaterThan(bytes);
        expect(bytes).toBeGreaterThanOrEqual(tokens * kvBytesPerToken(llm, dtype, tp));
        const long = 2048 + 16 * Math.ceil(tokens / 16);
        const step = kvBytesForSequence(llm, long + 16, dtype, tp) - kvBytesForSequence(llm, long, dtype, tp);
        expect(step / (16 * kvBytesPerToken(llm, dtype, tp))).toBeCloseTo(1, 6);
      }),
    );
  });

  it('a sequence never holds more than all layers would', () => {
    fc.assert(
      fc.property(llms, kvDtypes, tps, lengths, (llm, dtype, tp, tokens) => {
        const blocks = Math.ceil(tokens / 16);
        const state = (llm.stateBytesPerLayer ?? 0) * llm.layers;
        const all = llm.layers * blocks * 16 * kvBytesPerTokenLayer(llm, dtype, tp);
        expect(kvBytesForSequence(llm, tokens, dtype, tp)).toBeLessThanOrEqual(Math.ceil(all + state));
      }),
    );
  });

  it('fewer bits never weigh more, and a pool holds what it says', () => {
    fc.assert(
      fc.property(llms, tps, lengths, fc.integer({ min: 0, max: 100e9 }), (llm, tp, maxLen, pool) => {
        const [bf16, fp8, int4] = (['bf16', 'fp8', 'int4'] as const).map((dtype) => weightBytesPerGpu(llm, dtype, tp));
        expect(fp8).toBeLessThan(bf16!);
        expect(int4).toBeLessThan(bf16!);
        const tokens = kvPoolTokens(pool, llm, 'bf16', tp, maxLen);
        expect(tokens % 16).toBe(0);
        expect(tokens * kvBytesPerToken(llm, 'bf16', tp)).toBeLessThanOrEqual(pool + 1);
      }),
    );
  });
});
