import { describe, expect, it } from 'vitest';
import { SseRelay } from './sse-relay.js';

const frame = (document: unknown) => `data: ${JSON.stringify(document)}\n\n`;
const content = (text: string, finish: string | null = null) =>
  frame({ choices: [{ index: 0, delta: { content: text }, finish_reason: finish }] });
const USAGE = frame({
  choices: [],
  usage: { prompt_tokens: 19, total_tokens: 25, completion_tokens: 6, prompt_tokens_details: { cached_tokens: 16 } },
});
const DONE = 'data: [DONE]\n\n';

function relay(transcript: string, wantsUsage = false, maxFrameBytes = 10_000) {
  const it = new SseRelay(wantsUsage, maxFrameBytes);
  const sent = [it.push(Buffer.from(transcript)), it.end()];
  return { it, text: sent.map((bytes) => bytes?.toString() ?? '').join('') };
}

describe('SseRelay', () => {
  it('drops the usage frame unless it was asked for, and learns from it either way', () => {
    for (const wantsUsage of [true, false]) {
      const { it, text } = relay(content('a') + content('', 'length') + USAGE + DONE, wantsUsage);
      expect(text).toBe(content('a') + content('', 'length') + (wantsUsage ? USAGE : '') + DONE);
      expect(it.facts).toMatchObject({
        promptTokens: 19,
        outputTokens: 6,
        cachedTokens: 16,
        finishReason: 'length',
        toolCalled: false,
      });
      expect(it.done).toBe(true);
    }
  });

  it('drops a usage frame wherever it stands, and is not misled by names that end like it', () => {
    const alike = frame({ choices: [{ delta: { cpu_usage: 1, mirror: 2 } }] });
    const { it, text } = relay(USAGE + alike + content('a') + USAGE + content('b') + alike + USAGE + DONE);
    expect(text).toBe(alike + content('a') + content('b') + alike + DONE);
    expect(it.error).toBeUndefined();
  });

  it('keeps frames that carry running usage with content, and learns the last count', () => {
    const running = (tokens: number) =>
      frame({ choices: [{ delta: { content: 'x' } }], usage: { prompt_tokens: 5, completion_tokens: tokens } });
    const { it, text } = relay(running(1) + running(2) + USAGE + DONE);
    expect(text).toBe(running(1) + running(2) + DONE);
    expect(it.facts.outputTokens).toBe(6);
  });

  it('is not deceived by content', () => {
    const transcript =
      content('{"usage":{"completion_tokens":9},"choices":[],"error":{"message":"no"}}') +
      content('[DONE]') +
      frame({ choices: [{ delta: { usage: 1, error: { message: 'inner' } } }] });
    const { it, text } = relay(transcript + DONE);
    expect(text).toBe(transcript + DONE);
    expect(it.error).toBeUndefined();
    expect(it.facts.outputTokens).toBeUndefined();
  });

  it('knows a tool call', () => {
    const { it } = relay(content('', 'tool_calls') + USAGE + DONE);
    expect(it.facts).toMatchObject({ finishReason: 'tool_calls', toolCalled: true });
  });

  it('passes an error frame and drops the [DONE] behind it', () => {
    const error = 'data: {"error": {"message": "dead", "code": 500}}\n\n';
    const late = relay(content('a') + error + DONE);
    expect(late.text).toBe(content('a') + error);
    expect(late.it).toMatchObject({ error: { message: 'dead' }, errorFirst: false, done: true });
    expect(relay(error + DONE).it.errorFirst).toBe(true);
    expect(relay('data: {"error":"plain"}\n\n').it.error).toEqual({ message: 'plain' });
  });

  it.each([
    ['CRLF', (text: string) => text.replaceAll('\n', '\r\n')],
    ['no space after the colon', (text: string) => text.replaceAll('data: ', 'data:')],
    [
      'comments and event names',
      (text: string) => `: hello\n\n${text.replaceAll('data: ', 'event: x\nid: 1\ndata: ')}`,
    ],
    ['data in two lines', (text: string) => text.replaceAll('"choices":[],', '"choices":[],\ndata: ')],
  ])('understands %s', (_name, spell) => {
    const { it, text } = relay(spell(content('a', 'stop') + USAGE + DONE));
    expect(text).toBe(spell(content('a', 'stop')) + spell(DONE).replace(/^: hello\n\n/, ''));
    expect(it).toMatchObject({ done: true, facts: { outputTokens: 6, finishReason: 'stop' } });
  });

  it('never hands on part of a frame that breaks off', () => {
    const { it, text } = relay(`${content('a')}data: {"choices":[{"del`);
    expect(text).toBe(content('a'));
    expect(it).toMatchObject({ done: false, midFrame: false });
  });

  it('takes a last [DONE] without its blank line', () => {
    const { it, text } = relay(`${content('a')}data: [DONE]`);
    expect(it.done).toBe(true);
    expect(text).toBe(content('a') + DONE);
  });

  it('lets a frame pass in pieces when it is too long to be held, and goes on after it', () => {
    const it = new SseRelay(false, 1000);
    const long = content('x'.repeat(5000), 'stop');
    const pieces = (long + USAGE + DONE).match(/.{1,300}/gs)!;
    let heldAtMost = 0;
    let text = '';
    let taken = 0;
    for (const piece of pieces) {
      taken += piece.length;
      text += it.push(Buffer.from(piece))?.toString() ?? '';
      heldAtMost = Math.max(heldAtMost, taken - text.length);
      if (taken > 2000 && taken < 4000) expect(it.midFrame).toBe(true);
    }
    expect(heldAtMost).toBeLessThanOrEqual(1300);
    expect(text).toBe(long + DONE);
    expect(it).toMatchObject({ done: true, midFrame: false, facts: { outputTokens: 6 } });
  });
});
