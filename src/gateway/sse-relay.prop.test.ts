import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SseRelay } from './sse-relay.js';

const newline = fc.constantFrom('\n', '\r\n');
const line = (text: string, eol: string) => `data: ${text}${eol}${eol}`;
const usage = JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } });

const content = fc
  .tuple(fc.string({ unit: 'binary' }), fc.constantFrom(null, 'stop'))
  .map(([text, finish]) => JSON.stringify({ choices: [{ delta: { content: text }, finish_reason: finish }] }));

/** Frames with the mark of those that a client who did not ask for usage does not get. */
const transcript = fc
  .tuple(
    fc.array(fc.oneof({ weight: 9, arbitrary: content }, { weight: 1, arbitrary: fc.constant(usage) })),
    newline,
    fc.boolean(),
  )
  .map(([documents, eol, comments]) => [
    ...documents.map((document) => ({
      text: (comments ? `: c${eol}${eol}` : '') + line(document, eol),
      usage: document === usage,
      comments,
      eol,
    })),
    { text: line('[DONE]', eol), usage: false, comments: false, eol },
  ]);

function relayInPieces(bytes: Buffer, cuts: readonly number[], wantsUsage: boolean, maxFrameBytes: number) {
  const relay = new SseRelay(wantsUsage, maxFrameBytes);
  const offsets = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  const sent: Buffer[] = [];
  for (let index = 1; index < offsets.length; index++) {
    const out = relay.push(bytes.subarray(offsets[index - 1], offsets[index]));
    if (out) sent.push(out);
  }
  const last = relay.end();
  if (last) sent.push(last);
  return { relay, text: Buffer.concat(sent) };
}

describe('SseRelay', () => {
  it('passes any transcript, cut anywhere, byte for byte but for the usage frame', () => {
    fc.assert(
      fc.property(transcript, fc.array(fc.nat()), fc.boolean(), (frames, cuts, wantsUsage) => {
        const bytes = Buffer.from(frames.map(({ text }) => text).join(''));
        const expected = frames
          .map((frame) =>
            frame.usage && !wantsUsage ? (frame.comments ? `: c${frame.eol}${frame.eol}` : '') : frame.text,
          )
          .join('');
        const { relay, text } = relayInPieces(bytes, cuts, wantsUsage, 1e6);
        expect(text.toString()).toBe(expected);
        expect(relay.done).toBe(true);
        expect(relay.facts.outputTokens).toBe(frames.some((frame) => frame.usage) ? 4 : undefined);
      }),
    );
  });

  it('comes out the same whatever single byte it is cut at, and byte by byte', () => {
    const bytes = Buffer.from(
      `: hi\r\n\r\n${line('{"choices":[{"delta":{"content":"é🎼"}}]}', '\r\n')}${line(usage, '\n')}${line('[DONE]', '\n')}`,
    );
    const { text: whole } = relayInPieces(bytes, [], false, 1e6);
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(relayInPieces(bytes, [cut], false, 1e6).text.equals(whole), `cut at ${cut}`).toBe(true);
    }
    const every = Array.from({ length: bytes.length }, (_, index) => index);
    expect(relayInPieces(bytes, every, false, 1e6).text.equals(whole)).toBe(true);
  });

  it('loses nothing when frames are longer than what may be held', () => {
    fc.assert(
      fc.property(fc.array(content), fc.array(fc.nat()), fc.nat(200), (documents, cuts, maxFrameBytes) => {
        const bytes = Buffer.from(documents.map((document) => line(document, '\n')).join('') + line('[DONE]', '\n'));
        expect(relayInPieces(bytes, cuts, false, maxFrameBytes).text.equals(bytes)).toBe(true);
      }),
    );
  });
});
