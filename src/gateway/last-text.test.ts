import { describe, expect, it } from 'vitest';
import { textGrams } from '../model/text-grams.js';
import { scanBody } from './json-scan.js';
import { lastMessageGrams } from './last-text.js';

function gramsOf(document: object, list: 'messages' | 'input' = 'messages'): number[] | undefined {
  const body = Buffer.from(JSON.stringify(document));
  return lastMessageGrams(body, scanBody(body, 50, list));
}

describe('lastMessageGrams', () => {
  const user = { role: 'user', content: 'Wie geht es dir?' };
  const grams = textGrams(user.content);

  it.each([
    ['a message', { messages: [{ role: 'system', content: 'no' }, user] }],
    [
      'parts',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Wie geht es' },
              { type: 'text', text: 'dir?' },
            ],
          },
        ],
      },
    ],
    ['what a tool said', { messages: [{ role: 'user', content: [{ type: 'tool_result', content: user.content }] }] }],
    ['a prompt', { prompt: user.content }],
  ])('reads the words of %s', (_what, document) => {
    expect(gramsOf(document)).toEqual(grams);
  });

  it('reads items and texts of the Responses API', () => {
    expect(gramsOf({ input: user.content }, 'input')).toEqual(grams);
    expect(gramsOf({ input: [{ type: 'function_call_output', output: user.content }] }, 'input')).toEqual(grams);
  });

  it.each([
    ['no words', { messages: [{ role: 'assistant', content: null }] }],
    ['token ids', { prompt: [1, 2, 3] }],
    ['a very long message', { messages: [{ role: 'user', content: 'x '.repeat(200_000) }] }],
    ['no message', { messages: [] }],
  ])('is absent for %s', (_what, document) => {
    expect(gramsOf(document)).toBeUndefined();
  });
});
