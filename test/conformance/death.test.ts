import { afterEach, describe, expect, it } from 'vitest';
import { OpenRequest } from './stream.js';
import { emulatorTarget, type Target } from './target.js';
import { ask } from './wire.js';

/**
 * What open requests hear when the engine dies under them, as it was seen on real vLLM 0.29.0 with its engine process killed. A server dies once, so a real one
 * is not asked for this.
 */
describe('the death of an engine', () => {
  let target: Target | undefined;
  afterEach(() => target?.close());

  const chat = { model: 'tiny', messages: [{ role: 'user', content: 'x' }], max_tokens: 1_500, ignore_eos: true };
  const CASES: [string, string, object, (text: string) => void][] = [
    [
      'a chat stream ends with an error frame and [DONE]',
      '/v1/chat/completions',
      { ...chat, stream: true },
      (text) =>
        expect(text).toMatch(/data: \{"error": \{"message": "EngineCore encountered.*\n\n\r\n.*\r\ndata: \[DONE\]/s),
    ],
    [
      'a messages stream ends with an error event and nothing after it',
      '/v1/messages',
      { ...chat, stream: true },
      (text) => {
        expect(text).toMatch(/event: error\ndata: \{"type":"error","error":\{"type":"internal_error"/);
        expect(text).not.toContain('message_stop');
      },
    ],
    [
      'a responses stream is cut off',
      '/v1/responses',
      { model: 'tiny', input: 'x', max_output_tokens: 1_500, ignore_eos: true, stream: true },
      (text) => {
        expect(text).toContain('event: response.in_progress');
        expect(text).not.toMatch(/response\.(completed|failed)/);
        expect(text.endsWith('0\r\n\r\n')).toBe(false);
      },
    ],
    [
      'a whole chat answer is a 500',
      '/v1/chat/completions',
      chat,
      (text) => expect(text).toMatch(/^HTTP\/1\.1 500 .*"type":"InternalServerError","param":null,"code":500\}\}$/s),
    ],
    [
      'a whole messages answer is a 500 in its own shape',
      '/v1/messages',
      chat,
      (text) => expect(text).toMatch(/^HTTP\/1\.1 500 .*\{"type":"error","error":\{"type":"InternalServerError"/s),
    ],
  ];
  it.each(CASES)('%s', async (_name, path, body, check) => {
    target = await emulatorTarget('0.29.0');
    await ask(target, 'POST', '/_emulator/fault', { kind: 'die', how: 'error', afterTokens: 20 });
    check((await new OpenRequest(target, path, body).end()).text);
  });

  it('the other way, every connection is cut', async () => {
    target = await emulatorTarget('0.29.0');
    await ask(target, 'POST', '/_emulator/fault', { kind: 'die', how: 'cut', afterTokens: 20 });
    const { text } = await new OpenRequest(target, '/v1/chat/completions', { ...chat, stream: true }).end();
    // A reset throws away what has arrived and was not read yet, so frames may be missing; a proper end must be.
    expect(text).not.toContain('[DONE]');
    expect(text).not.toContain('"error"');
    expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
  });

  it('an API server that is kept alive answers errors, and lists its models', async () => {
    target = await emulatorTarget('0.29.0', { keepAliveOnEngineDeath: true });
    await ask(target, 'POST', '/_emulator/fault', { kind: 'die', how: 'error', afterTokens: 5 });
    await new OpenRequest(target, '/v1/chat/completions', { ...chat, stream: true }).end();
    const statusOf = async (method: string, path: string, body?: object) =>
      (await ask(target!, method, path, body)).status;
    expect(await statusOf('POST', '/v1/chat/completions', chat)).toBe(500);
    expect(await statusOf('POST', '/v1/chat/completions', { ...chat, stream: true })).toBe(500);
    expect(await statusOf('GET', '/health')).toBe(503);
    expect(await statusOf('GET', '/is_sleeping')).toBe(500);
    expect(await statusOf('GET', '/v1/models')).toBe(200);
    expect(await statusOf('GET', '/metrics')).toBe(200);
  });
});

describe('the end by SIGTERM', () => {
  const completion = { model: 'tiny', prompt: 'a', ignore_eos: true, stream: true };

  it('without a drain tells every open request that the engine is gone', async () => {
    const target = await emulatorTarget('0.29.0', { maxNumSeqs: 1 });
    const running = await new OpenRequest(target, '/v1/completions', { ...completion, max_tokens: 1_500 }).until(
      ({ frames }) => frames.length > 2,
    );
    const queued = new OpenRequest(target, '/v1/completions', { ...completion, max_tokens: 5 });
    await queued.until(({ text }) => text.includes('200 OK'));
    await target.terminate();
    for (const request of [running, queued]) {
      await request.end();
      expect(request.frames.at(-2)).toMatch(/^\{"error": \{"message": "EngineCore/);
      expect(request.frames.at(-1)).toBe('[DONE]');
    }
    expect(queued.frames).toHaveLength(2);
  });

  it('with a drain lets what is here go on, refuses what comes, and tells nothing to what is unfinished at its end', async () => {
    const target = await emulatorTarget('0.29.0', { shutdownTimeoutS: 2 });
    const [short, long] = await Promise.all(
      [60, 1_500].map((max_tokens) =>
        new OpenRequest(target, '/v1/completions', { ...completion, max_tokens }).until(
          ({ frames }) => frames.length > 2,
        ),
      ),
    );
    const gone = target.terminate();
    const refused = await ask(target, 'POST', '/v1/completions', { ...completion, max_tokens: 2 });
    expect([refused.status, refused.body]).toEqual([
      500,
      expect.stringContaining('cannot schedule new futures after shutdown'),
    ]);
    expect((await ask(target, 'GET', '/health')).status).toBe(200);
    expect((await short!.end()).frames.at(-1)).toBe('[DONE]');
    // The server closes its door when the time is up.
    for (;;) {
      const answer = await ask(target, 'GET', '/health').catch(() => undefined);
      if (answer === undefined) break;
    }
    expect([long!.ended, long!.text.includes('[DONE]')]).toEqual([false, false]);
    long!.leave();
    await gone;
  });
});
