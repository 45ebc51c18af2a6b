/** An engine that dies, at every byte of a stream of every API: what the client gets is a beginning of the truth and then an error, never a silent end. */
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentFrame, DONE_FRAME, type Rig, startRig, USAGE_FRAME } from './gateway-fixture.js';

const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify({ type: name, ...data })}\n\n`;

interface Api {
  readonly path: string;
  readonly body: object;
  /** The stream, and how much of it is enough: a stream whose closing event is there is whole, though its connection breaks. */
  readonly stream: string;
  readonly closing: string;
  /** What stands at the end of a broken stream. */
  readonly error: RegExp;
}

const messages = [{ role: 'user', content: 'x' }];
const APIS: Record<string, Api> = {
  chat: {
    path: '/v1/chat/completions',
    body: { model: 'tiny', messages, stream: true, stream_options: { include_usage: true } },
    stream: contentFrame('é') + contentFrame('b', 'stop') + USAGE_FRAME + DONE_FRAME,
    closing: DONE_FRAME,
    error: /\n\ndata: \{"error":\{"message":"[^"]+","type":"engine_error"[^\n]*\}\n\n$/,
  },
  responses: {
    path: '/v1/responses',
    body: { model: 'tiny', input: 'x', stream: true },
    stream:
      event('response.created', { response: { id: 'resp_1', usage: null }, sequence_number: 0 }) +
      event('response.output_text.delta', { delta: 'é', sequence_number: 1 }) +
      event('response.completed', { response: { id: 'resp_1', status: 'completed', usage: {} }, sequence_number: 2 }),
    closing: '\n\n',
    error: /\n\nevent: response\.failed\ndata: \{"type":"response\.failed"[^\n]*\}\n\n$/,
  },
  messages: {
    path: '/v1/messages',
    body: { model: 'tiny', messages, max_tokens: 5, stream: true },
    stream:
      event('message_start', { message: { id: 'm', usage: { input_tokens: 1, output_tokens: 0 } } }) +
      event('content_block_delta', { delta: { type: 'text_delta', text: 'é' }, index: 0 }) +
      event('message_stop', {}),
    closing: '\n\n',
    error: /\n\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error"[^\n]*\}\n\n$/,
  },
};

describe.each(Object.entries(APIS))('a stream of %s', (_name, { path, body, stream, closing, error }) => {
  const bytes = Buffer.from(stream);
  const firstFrameEnd = bytes.indexOf('\n\n') + 2;
  let rig: Rig;
  let cut = 0;
  let attempts = 0;
  beforeAll(async () => {
    rig = await startRig();
    rig.script = ({ res }) => {
      attempts++;
      res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      res.flushHeaders();
      res.write(bytes.subarray(0, cut), () => setImmediate(() => res.destroy()));
    };
  });
  afterAll(() => rig.close());

  it('cut after any of its bytes', async () => {
    for (cut = 1; cut < bytes.length - closing.length; cut++) {
      attempts = 0;
      const { statusCode, body: answer } = await request(rig.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      expect(attempts, `cut at ${cut}`).toBe(1);
      if (cut < firstFrameEnd) {
        // Nothing that makes up an event has come, so that the status can still say it.
        expect(statusCode, `cut at ${cut}`).toBe(502);
        continue;
      }
      const failure = error.exec(text)!;
      expect(failure, `cut at ${cut}: ${text}`).not.toBeNull();
      const told = text.slice(0, failure.index + 2);
      // Whole frames of the engine's, as many as have come.
      expect(told).toBe(stream.slice(0, told.length));
      expect(Buffer.byteLength(told)).toBe(bytes.subarray(0, cut).lastIndexOf('\n\n') + 2);
      expect(text).not.toContain('[DONE]');
    }
    const { outcomes, started } = rig.metrics.ledger();
    expect(outcomes.engine_failed).toBe(started);
  });
});
