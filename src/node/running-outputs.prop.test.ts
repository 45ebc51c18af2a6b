import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RunningOutputs } from './running-outputs.js';

const step = fc.record({
  /** A call that begins, with the readings that pass before its prompt is in memory. */
  begins: fc.option(
    fc.record({ promptTokens: fc.integer({ min: 1, max: 5_000 }), waits: fc.integer({ min: 0, max: 3 }) }),
  ),
  /** Which of the running ones ends, if any, and what it wrote since the reading before. */
  ends: fc.option(fc.record({ which: fc.nat(20), tokens: fc.integer({ min: 0, max: 50 }) })),
  tokens: fc.integer({ min: 0, max: 50 }),
});

describe('RunningOutputs', () => {
  it('is what the running calls have written, whoever begins and ends, and whenever prompts are in memory', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const outputs = new RunningOutputs();
        const calls: { promptTokens: number; waits: number; written: number }[] = [];
        for (const { begins, ends, tokens } of steps) {
          let writtenTokens = 0;
          if (begins) calls.push({ ...begins, written: 0 });
          const [ended] = ends !== null && ends.which < calls.length ? calls.splice(ends.which, 1) : [];
          if (ended) {
            const last = ended.waits > 0 ? 0 : ends!.tokens;
            writtenTokens += last;
            outputs.ended(ended.written + last);
          }
          let [inUseTokens, certainTokens, pendingTokens] = [0, 0, 0];
          for (const call of calls) {
            certainTokens += call.promptTokens;
            if (call.waits > 0) {
              call.waits -= 1;
              pendingTokens += call.promptTokens;
            } else {
              call.written += tokens;
              writtenTokens += tokens;
              inUseTokens += call.promptTokens + call.written;
            }
          }
          outputs.read(writtenTokens, inUseTokens - certainTokens, pendingTokens);
          expect(outputs.tokens).toBe(calls.reduce((sum, { written }) => sum + written, 0));
        }
      }),
    );
  });
});
