import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_BLOCK_TOKENS } from '../model/memory.js';
import { KvInUse } from './kv-in-use.js';

const step = fc.record({
  /** A call that comes after the reading, and what is promised to it beyond its prompt. */
  begins: fc.option(
    fc.record({ promptTokens: fc.integer({ min: 1, max: 500 }), room: fc.integer({ min: 0, max: 50 }) }),
  ),
  /** Which of the running ones ends, if any. */
  ends: fc.option(fc.nat(20)),
});

describe('KvInUse', () => {
  it('is never less than what is in use at the next reading, however far calls outgrow their bounds', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 100 }), (steps, tokensASecond) => {
        const inUse = new KvInUse();
        const calls: { promptTokens: number; boundTokens: number; written: number; readings: number }[] = [];
        let generatedTokens = 0;
        let nowMs = 0;
        const used = () =>
          calls.reduce(
            (sum, { promptTokens, written }) =>
              sum + DEFAULT_BLOCK_TOKENS * Math.ceil((promptTokens + written) / DEFAULT_BLOCK_TOKENS),
            0,
          );
        inUse.read({ inUseTokens: 0, running: 0, generatedTokens }, 0, nowMs);
        for (const { begins, ends } of steps) {
          if (begins) {
            const { promptTokens, room } = begins;
            // All who begin have room for their first second; later they write on, whatever was promised.
            const boundTokens = promptTokens + tokensASecond + DEFAULT_BLOCK_TOKENS + room;
            calls.push({ promptTokens, boundTokens, written: 0, readings: inUse.readings });
            inUse.granted(boundTokens);
          }
          const [ended] = ends !== null && ends < calls.length ? calls.splice(ends, 1) : [];
          if (ended) inUse.ended(ended.boundTokens, ended.promptTokens + ended.written, ended.readings, nowMs + 500);
          for (const call of calls) call.written += tokensASecond;
          generatedTokens += tokensASecond * calls.length;
          nowMs += 1_000;
          // Whoever began in the first second was not seen to write before.
          expect(inUse.tokens).toBeGreaterThanOrEqual(used());
          inUse.read({ inUseTokens: used(), running: calls.length, generatedTokens }, 0, nowMs);
        }
      }),
    );
  });
});
