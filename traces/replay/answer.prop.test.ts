import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerReader, type StageAnswer } from './answer.js';

const frame = (value: object | string) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const delta = (fields: object) => frame({ id: 'x', choices: [{ index: 0, delta: fields, finish_reason: null }] });
const USAGE = frame({
  choices: [],
  usage: { prompt_tokens: 40, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 16 } },
});
const WHOLE =
  delta({ role: 'assistant', content: '' }) +
  delta({ content: 'ä "usage":{' }) +
  ': a comment\n\n' +
  delta({ content: 'b' }) +
  delta({ content: '' }) +
  USAGE +
  frame('[DONE]');

/** Feeds chunks, one millisecond apart, and ends the connection. */
function readAll(chunks: readonly (string | Buffer)[], status = 200): StageAnswer {
  const reader = new AnswerReader();
  reader.onStart(status);
  chunks.forEach((chunk, index) => {
    reader.onData(Buffer.from(chunk), 100 + index);
  });
  return reader.finish();
}

describe('AnswerReader', () => {
  it('takes tokens from usage, times from the frames', () => {
    expect(readAll(WHOLE.split(/(?<=\n\n)/))).toEqual({
      outcome: 'completed',
      httpStatus: 200,
      firstTokenMs: 101,
      promptTokens: 40,
      outputTokens: 3,
      cachedTokens: 16,
      itlMs: { count: 1, sum: 2, p50: 2, p99: 2, max: 2 },
    });
  });

  it('reads the same answer however the bytes are cut', () => {
    const bytes = Buffer.from(WHOLE);
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
        const { outcome, promptTokens, outputTokens, cachedTokens, firstTokenMs } = readAll(chunks);
        expect(firstTokenMs).toBeGreaterThanOrEqual(100);
        expect({ outcome, promptTokens, outputTokens, cachedTokens }).toEqual({
          outcome: 'completed',
          promptTokens: 40,
          outputTokens: 3,
          cachedTokens: 16,
        });
      }),
    );
  });

  it('takes frames of one read as one arrival', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((content) => delta({ content }));
    const { itlMs, outputTokens } = readAll([a! + b!, '', c!, frame('[DONE]')]);
    expect(itlMs).toEqual({ count: 1, sum: 2, p50: 2, p99: 2, max: 2 });
    expect(outputTokens).toBe(3);
  });

  it('counts frames when the server gives no usage', () => {
    const { outputTokens, promptTokens } = readAll([delta({ content: 'a' }), delta({ content: 'b' }), frame('[DONE]')]);
    expect({ outputTokens, promptTokens }).toEqual({ outputTokens: 2, promptTokens: undefined });
  });

  it.each([
    ['a tool call', { tool_calls: [{ index: 0 }] }],
    ['reasoning', { reasoning: 'hm' }],
  ])('takes %s as a first token', (_name, fields) => {
    expect(readAll([delta({ role: 'assistant', content: '' }), delta(fields), frame('[DONE]')]).firstTokenMs).toBe(101);
  });

  it.each<[string, string, number, string]>([
    ['a cut stream', delta({ content: 'a' }), 200, 'engine_failed'],
    [
      'an error frame, even before [DONE]',
      delta({ content: 'a' }) + frame({ error: { message: 'gone', code: 502 } }) + frame('[DONE]'),
      200,
      'engine_failed',
    ],
    ['a deadline in the stream', frame({ error: { message: 'late', code: 'token_timeout' } }), 200, 'deadline'],
    ['a broken frame', frame('{nonsense'), 200, 'engine_failed'],
    [
      'a full queue after a long wait',
      `: keep-alive\n\n${frame({ error: { message: 'full', code: 'queue_full' } })}`,
      200,
      'rejected:queue_full',
    ],
    [
      'no engine after a long wait',
      frame({ error: { message: 'none', code: 'no_engine' } }),
      200,
      'rejected:no_engine',
    ],
    ['a bad request after a long wait', frame({ error: { message: 'no', code: 400 } }), 200, 'rejected:400'],
    ['a failure after a long wait', frame({ error: { message: 'no', code: 'engine_failed' } }), 200, 'engine_failed'],
    [
      'the end of the gateway in the stream',
      delta({ content: 'a' }) + frame({ error: { message: 'closes', code: 'shutting_down' } }),
      200,
      'engine_failed',
    ],
    ['a full queue', '{"error":{"message":"full","code":"queue_full"}}', 429, 'rejected:queue_full'],
    ['no engine', '{"error":{"message":"none","code":"no_engine"}}', 503, 'rejected:no_engine'],
    ['a bad request in plain text', 'nope', 400, 'rejected:400'],
    ['a bad gateway', '{"error":{"code":"engine_failed"}}', 502, 'engine_failed'],
    ['a timeout', '{}', 504, 'deadline'],
    ['a server error', '<html>', 500, 'internal'],
  ])('tells %s', (_name, body, status, outcome) => {
    const answer = readAll([body], status);
    expect(answer.outcome).toBe(outcome);
    expect(answer.error).not.toBe('');
    expect(answer.httpStatus).toBe(status);
  });
});
