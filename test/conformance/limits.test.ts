import { afterEach, describe, expect, it } from 'vitest';
import { OpenRequest } from './stream.js';
import { emulatorTarget, type Target } from './target.js';
import { ask, json } from './wire.js';

/** Bytes of a token of the emulated model's KV cache. */
const KV_BYTES = 131_072;

/**
 * Where memory and bounds end. Real servers show it only when they are started for it (few blocks, a bound); the order and the words are those of 0.29.0 started so.
 */
describe('at the limits', () => {
  let target: Target;
  afterEach(() => target.close());

  const completion = (more: object) => ({ model: 'tiny', prompt: 'a', ignore_eos: true, stream: true, ...more });
  const send = (more: object) => new OpenRequest(target, '/v1/completions', completion(more));
  const metric = async (name: string) => {
    const { body } = await ask(target, 'GET', '/metrics');
    return Number(new RegExp(`^vllm:${name}\\{.*\\} (\\S+)$`, 'm').exec(body)?.[1]);
  };

  it('preempts by priority when blocks run out, counts it, and ends everybody in full', async () => {
    target = await emulatorTarget('0.29.0', { kvCacheMemoryBytes: 1_024 * KV_BYTES, maxModelLen: 1_000 }, 20);
    await ask(target, 'POST', '/pause?mode=keep');
    const ended: string[] = [];
    const requests = [9, 1, 5].map((priority) => {
      const request = send({ max_tokens: 600, priority, stream_options: { include_usage: true } });
      void request.end().then(() => ended.push(String(priority)));
      return request;
    });
    await Promise.all(requests.map((request) => request.until(({ text }) => text.includes('200 OK'))));
    await ask(target, 'POST', '/resume');
    await Promise.all(requests.map((request) => request.end()));
    for (const { frames } of requests) expect(JSON.parse(frames.at(-2)!).usage.completion_tokens).toBe(600);
    expect(await metric('num_preemptions_total')).toBeGreaterThan(0);
    expect(ended.at(-1)).toBe('9');
  });

  it('refuses with 503 what goes beyond --max-num-queued-tokens of unread prompt', async () => {
    target = await emulatorTarget('0.29.0', { maxNumQueuedTokens: 100 });
    await ask(target, 'POST', '/pause?mode=keep');
    const waiting = await send({ prompt: Array(80).fill(7), max_tokens: 2 }).until(({ text }) =>
      text.includes('200 OK'),
    );
    const refused = await ask(target, 'POST', '/v1/completions', completion({ prompt: Array(40).fill(7) }));
    expect([refused.status, json(refused)['error'], refused.headers['retry-after']]).toEqual([
      503,
      expect.objectContaining({ type: 'Service Unavailable', code: 503 }),
      undefined,
    ]);
    await ask(target, 'POST', '/resume');
    await waiting.end();
    expect((await ask(target, 'POST', '/v1/completions', completion({ prompt: Array(90).fill(7) }))).status).toBe(200);
  });

  it('has no development endpoints unless asked for, and answers as for any unknown route', async () => {
    target = await emulatorTarget('0.29.0', { devMode: false });
    for (const [method, path] of [
      ['POST', '/sleep'],
      ['POST', '/wake_up'],
      ['GET', '/is_sleeping'],
      ['POST', '/abort_requests'],
    ] as const) {
      const answer = await ask(target, method, path);
      expect([answer.status, answer.body]).toEqual([404, '{"detail":"Not Found"}']);
    }
  });
});
