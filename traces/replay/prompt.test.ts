import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TraceRow } from '../schema.js';
import { promptText } from './prompt.js';

const row = (fields: Partial<TraceRow>): TraceRow => ({
  request_id: 'r',
  input_length: 500,
  output_length: 1,
  ...fields,
});
const wordsIn = (text: string) => text.trim().split(' ').length;
const commonPrefix = (a: string, b: string) => {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
};

describe('promptText', () => {
  it('has four bytes for each token, less those of the chat template', () => {
    const text = promptText(row({ input_length: 1000 }));
    expect(wordsIn(text)).toBe(996);
    expect(text.length).toBe(4 * 996);
    expect(wordsIn(promptText(row({ input_length: 0 })))).toBe(1);
  });

  it('shares text exactly as far as leading blocks are equal', () => {
    const first = promptText(row({ request_id: 'a', hash_ids: [1, 2, 3], block_tokens: 100 }));
    const second = promptText(
      row({
        request_id: 'b',
        hash_runs: [
          [1, 2],
          [9, 1],
        ],
        block_tokens: 100,
      }),
    );
    // Words of unlike blocks may agree by chance in their first letters, not for long.
    expect(commonPrefix(first, second)).toBeGreaterThanOrEqual(800);
    expect(commonPrefix(first, second)).toBeLessThan(820);
    const otherSize = promptText(row({ request_id: 'a', hash_ids: [1, 2, 3], block_tokens: 64 }));
    expect(commonPrefix(first, otherSize)).toBeLessThan(20);
  });

  it('grows in a session without blocks, and shares nothing without one', () => {
    const early = promptText(row({ request_id: 'a', session_id: 's', input_length: 300 }));
    const late = promptText(row({ request_id: 'b', session_id: 's', input_length: 900 }));
    expect(late.startsWith(early)).toBe(true);
    expect(commonPrefix(promptText(row({ request_id: 'a' })), promptText(row({ request_id: 'b' })))).toBeLessThan(20);
  });

  it('cuts the last block where the prompt ends and is the same every time', () => {
    fc.assert(
      fc.property(
        fc.nat(5000),
        fc.array(fc.nat(9), { maxLength: 12 }),
        fc.integer({ min: 1, max: 600 }),
        (length, ids, block) => {
          const stage = row({ input_length: length, hash_ids: ids, block_tokens: block });
          expect(wordsIn(promptText(stage))).toBe(Math.max(1, length - 4));
          expect(promptText(stage)).toBe(promptText(stage));
        },
      ),
    );
  });
});
