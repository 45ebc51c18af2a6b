import { describe, expect, it } from 'vitest';
import { scanBody } from './json-scan.js';
import { lastToolCalled } from './last-tool.js';

function lastToolOf(list: 'messages' | 'input', ...messages: unknown[]): string | undefined {
  const body = Buffer.from(JSON.stringify({ [list]: messages }));
  return lastToolCalled(body, scanBody(body, 50, list));
}

const called = (...names: string[]) => ({
  role: 'assistant',
  content: null,
  tool_calls: names.map((name) => ({ id: name, type: 'function', function: { arguments: '{"name":"no"}', name } })),
});
const said = { role: 'tool', tool_call_id: 'x', content: 'tool_calls' };

describe('lastToolCalled', () => {
  it('finds the last of the calls before the results, in each API', () => {
    expect(lastToolOf('messages', called('old'), said, called('first', 'look-up'), said, said)).toBe('look-up');
    const use = {
      role: 'assistant',
      content: [
        { type: 'text', text: 'x' },
        { type: 'tool_use', name: 'Bash', input: {} },
      ],
    };
    expect(lastToolOf('messages', use, { role: 'user', content: [{ type: 'tool_result' }] })).toBe('Bash');
    const item = { type: 'function_call', name: 'get_page', arguments: '{}' };
    expect(lastToolOf('input', item, { type: 'function_call_output', output: '1' })).toBe('get_page');
  });

  it.each([
    ['no call', [{ role: 'user', content: 'x' }, said]],
    ['an empty list', [{ role: 'assistant', tool_calls: [], content: [] }, said]],
    ['a name that is none', [called('two words'), said]],
    ['a name with a line break', [called('a\nb'), said]],
    ['a call without a name', [{ role: 'assistant', tool_calls: [{ function: {} }, 7] }, said]],
    ['an answer in words', [{ role: 'assistant', content: 'x' }, said]],
    ['a call too far back', [called('far'), ...Array.from({ length: 17 }, () => said)]],
    ['nothing', []],
  ])('finds nothing where there is %s', (_what, messages) => {
    expect(lastToolOf('messages', ...messages)).toBeUndefined();
  });
});
