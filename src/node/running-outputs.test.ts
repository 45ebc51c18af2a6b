import { describe, expect, it } from 'vitest';
import { RunningOutputs } from './running-outputs.js';

/** After calls that have written 900 tokens. */
function bench(): RunningOutputs {
  const outputs = new RunningOutputs();
  outputs.read(0, 900, 0);
  return outputs;
}

describe('RunningOutputs', () => {
  it.each([
    ['what the gauge shows beyond all prompts, where all are in memory', 100, 950, 0, 950],
    ['what was written on, while the prompt of another is not in memory', 100, -4_000, 5_000, 1_000],
    ['no more than is in use, whatever others have written on the engine', 5_000, 700, 500, 1_200],
    ['what it was, where the engine does not count what it writes', 0, -4_000, 5_000, 900],
    ['nothing, where calls have most of their prompts in common', 100, -3_000, 500, 0],
  ])('is %s', (_, writtenTokens, leastTokens, pendingTokens, tokens) => {
    const outputs = bench();
    outputs.read(writtenTokens, leastTokens, pendingTokens);
    expect(outputs.tokens).toBe(tokens);
  });

  it('has no more of a call that has ended', () => {
    const outputs = bench();
    // 30 of them since the reading, which the next one counts.
    outputs.ended(430);
    outputs.read(30 + 100, -4_000, 5_000);
    expect(outputs.tokens).toBe(600);
    outputs.empty();
    expect(outputs.tokens).toBe(0);
  });
});
