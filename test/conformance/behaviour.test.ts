import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { OpenRequest } from './stream.js';
import { emulatorTarget, realTarget, type Target } from './target.js';
import { ask, json } from './wire.js';

const TARGETS: readonly (readonly [string, () => Promise<Target | undefined>])[] = [
  ['emulator 0.29.0', () => emulatorTarget('0.29.0', { enableSleepMode: true, maxModelLen: 16_384 }, 20)],
  ['emulator 0.32.0', () => emulatorTarget('0.32.0', { enableSleepMode: true, maxModelLen: 16_384 }, 20)],
  ['real server', realTarget],
];

/**
 * A server on a CPU hands its tokens out in bursts: what a test wants to see in the middle may be over by then, and is tried again. The emulator gets no second
 * try.
 */
const retryOf = (name: string) => (name === 'real server' ? 5 : 0);

describe.each(TARGETS)('behaviour: %s', (name, open) => {
  const options = { retry: retryOf(name), timeout: 60_000 };
  let target: Target;
  let none = false;
  const requests: OpenRequest[] = [];

  beforeAll(async () => {
    const opened = await open();
    none = opened === undefined;
    if (opened) target = opened;
  });
  afterEach(async () => {
    for (const request of requests.splice(0)) request.leave();
    if (none || !target.devMode) return;
    await ask(target, 'POST', '/resume');
    await ask(target, 'POST', '/wake_up');
    await ask(target, 'POST', '/abort_requests', {});
    await gauge('num_requests_running', (value) => value === 0);
  });
  afterAll(() => target?.close());

  /** `skip` throws, so nothing after it runs. */
  const needs = (skip: (reason?: string) => void, ...what: ('devMode' | 'priority' | 'seats4')[]): void => {
    if (none) skip('MAESTRO_VLLM_URL names no server');
    else if (what.includes('devMode') && !target.devMode) skip('the development endpoints are off');
    else if (what.includes('priority') && target.policy !== 'priority') skip('it schedules first come, first served');
    else if (what.includes('seats4') && target.maxNumSeqs !== 4) skip(`made for 4 seats, not ${target.maxNumSeqs}`);
  };
  /** Long enough that nothing of it ends by itself while a test looks. */
  const longest = () => target.maxModelLen - 200;
  const completion = (more: object = {}) => ({
    model: target.model,
    prompt: 'the way of water',
    max_tokens: longest(),
    ignore_eos: true,
    stream: true,
    ...more,
  });
  const send = (body: object = completion(), headers: Record<string, string> = {}, path = '/v1/completions') => {
    const request = new OpenRequest(target, path, body, headers);
    requests.push(request);
    return request;
  };
  const running = (request: OpenRequest) => request.until(({ frames }) => frames.length >= 3);
  const metric = async (name: string): Promise<number> => {
    const { body } = await ask(target, 'GET', '/metrics');
    const lines = body
      .split('\n')
      .filter((line) => line.startsWith(`vllm:${name}{`) || line.startsWith(`vllm:${name} `));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const gauge = async (name: string, holds: (value: number) => boolean): Promise<void> => {
    while (!holds(await metric(name))) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  /** Real servers take a moment from a socket to the engine; gauges lag even more, so what they will show is polled for. */
  const settle = () => new Promise<void>((resolve) => setTimeout(resolve, target.real ? 500 : 100));
  const flag = async (path: '/is_sleeping' | '/is_paused') => Object.values(json(await ask(target, 'GET', path)))[0];
  const post = (path: string, body?: unknown) => ask(target, 'POST', path, body);
  const finishOf = ({ frames }: OpenRequest) =>
    frames
      .flatMap((frame) => (frame.startsWith('{') ? (JSON.parse(frame).choices?.[0]?.finish_reason ?? []) : []))
      .at(-1);

  it(
    'sleep ends what runs with `abort` and [DONE], and what has no token with [DONE] alone',
    options,
    async ({ skip }) => {
      needs(skip, 'devMode');
      const whole = send(completion({ stream: false }));
      const stream = await running(send());
      expect((await post('/sleep?level=1')).status).toBe(200);
      await Promise.all([stream.end(), whole.end()]);
      expect(finishOf(stream)).toBe('abort');
      expect(stream.frames.at(-1)).toBe('[DONE]');
      expect(whole.text).toContain('"finish_reason":"abort"');
      const queued = await send().until(({ text }) => text.includes('\r\n\r\n'));
      expect(queued.text).toContain('200 OK');
      await post('/sleep?level=1');
      await queued.end();
      expect(queued.frames).toEqual(['[DONE]']);
    },
  );

  it(
    'queues while asleep: a stream has its headers, the other nothing, until the whole engine is awake',
    options,
    async ({ skip }) => {
      needs(skip, 'devMode');
      await post('/sleep?level=1');
      expect(await flag('/is_sleeping')).toBe(true);
      const stream = send(completion({ max_tokens: 3 }));
      const whole = send(completion({ max_tokens: 3, stream: false }));
      await stream.until(({ text }) => text.includes('text/event-stream'));
      await post('/wake_up?tags=weights');
      expect(await flag('/is_sleeping')).toBe(true);
      expect([stream.frames, whole.text]).toEqual([[], '']);
      // A gauge changes when the engine reports, and a sleeping one does not.
      expect(await metric('num_requests_waiting')).toBe(0);
      await post('/wake_up');
      await Promise.all([stream.end(), whole.end()]);
      expect(stream.frames.at(-1)).toBe('[DONE]');
      expect(whole.text).toContain('"completion_tokens":3');
      expect(await flag('/is_sleeping')).toBe(false);
    },
  );

  it('drops a queued request when its client leaves', options, async ({ skip }) => {
    needs(skip, 'devMode');
    await post('/sleep?level=1');
    const gone = await send(completion({ max_tokens: 2 })).until(({ text }) => text.includes('200 OK'));
    gone.leave();
    await settle();
    const before = await metric('generation_tokens_total');
    await post('/wake_up');
    const next = await send(completion({ max_tokens: 2 })).end();
    expect(next.frames.at(-1)).toBe('[DONE]');
    await gauge('generation_tokens_total', (value) => value - before === 2);
  });

  it(
    'answers health, models, version and metrics while asleep, and takes unknown or awake tags',
    options,
    async ({ skip }) => {
      needs(skip, 'devMode');
      await post('/sleep?level=1');
      for (const path of ['/health', '/v1/models', '/version', '/metrics']) {
        expect((await ask(target, 'GET', path)).status).toBe(200);
      }
      expect((await post('/wake_up?tags=nonsense')).status).toBe(200);
      expect(await flag('/is_sleeping')).toBe(true);
      await post('/wake_up?tags=weights');
      expect((await post('/wake_up?tags=weights')).status).toBe(200);
      // 0.29 tells that it is awake when a part of it is.
      expect(await metricOf('engine_sleep_state', 'awake')).toBe(target.version.startsWith('0.29.') ? 1 : 0);
      expect(await flag('/is_sleeping')).toBe(true);
    },
  );

  const metricOf = async (name: string, state: string): Promise<number> => {
    const { body } = await ask(target, 'GET', '/metrics');
    const line = body.split('\n').find((each) => each.startsWith(`vllm:${name}{`) && each.includes(`"${state}"`));
    return Number(line?.split(' ').at(-1));
  };

  it('keeps its level at a second sleep, but overwrites the gauge', options, async ({ skip }) => {
    needs(skip, 'devMode');
    await post('/sleep?level=1');
    expect(await metricOf('engine_sleep_state', 'weights_offloaded')).toBe(1);
    await post('/sleep?level=2');
    expect(await metricOf('engine_sleep_state', 'discard_all')).toBe(1);
    await post('/wake_up');
    expect(finishOf(await send(completion({ max_tokens: 2 })).end())).toBe('length');
  });

  it('answers sleep and wake in the form of its version, and ignores a body', options, async ({ skip }) => {
    needs(skip, 'devMode');
    const newer = !target.version.startsWith('0.29.');
    const asleep = await post('/sleep', { level: 2, mode: 'wait' });
    expect(asleep.body).toBe(newer ? '{"status":"sleeping","level":1}' : '');
    expect(await metricOf('engine_sleep_state', 'weights_offloaded')).toBe(1);
    expect((await post('/wake_up?tags=weights')).body).toBe(newer ? '{"status":"sleeping","tags":["weights"]}' : '');
    expect((await post('/wake_up')).body).toBe(newer ? '{"status":"awake","tags":null}' : '');
  });

  it('mode wait answers when nothing runs any more; mode keep freezes and resumes', options, async ({ skip }) => {
    needs(skip, 'devMode');
    const short = await running(send(completion({ max_tokens: 60 })));
    await post('/sleep?level=1&mode=wait');
    expect(short.frames.at(-1)).toBe('[DONE]');
    await post('/wake_up');
    const kept = await running(send(completion({ max_tokens: 1_000 })));
    const preemptions = await metric('num_preemptions_total');
    await post('/sleep?level=1&mode=keep');
    await settle();
    expect(kept.ended).toBe(false);
    const frozen = kept.frames.length;
    await settle();
    expect(kept.frames.length).toBe(frozen);
    await post('/wake_up');
    await kept.end();
    expect(finishOf(kept)).toBe('length');
    await gauge('num_preemptions_total', (value) => value - preemptions === 1);
  });

  it('pauses and resumes: /is_sleeping is true, new streams wait', options, async ({ skip }) => {
    needs(skip, 'devMode');
    expect((await post('/pause')).body).toBe('{"status":"paused"}');
    expect([await flag('/is_sleeping'), await flag('/is_paused')]).toEqual([true, true]);
    const waiting = await send(completion({ max_tokens: 2 })).until(({ text }) => text.includes('200 OK'));
    expect(waiting.frames).toEqual([]);
    expect((await post('/resume')).body).toBe('{"status":"resumed"}');
    expect((await waiting.end()).frames.at(-1)).toBe('[DONE]');
    expect((await post('/pause?mode=nap')).status).toBe(400);
  });

  it('aborts a completion by engine id, and counts ids that it does not know', options, async ({ skip }) => {
    needs(skip, 'devMode');
    const mine = await running(send(completion({ request_id: 'mine' })));
    expect(json(await post('/abort_requests', { request_ids: ['cmpl-mine'] }))).toEqual({
      status: 'aborted',
      aborted: 1,
    });
    expect(mine.ended).toBe(false);
    await post('/abort_requests', { request_ids: ['cmpl-mine-0'] });
    await mine.end();
    expect([finishOf(mine), mine.frames.at(-1)]).toEqual(['abort', '[DONE]']);
    expect((await post('/abort_requests')).status).toBe(400);
  });

  it('aborts a chat by the id that it shows', options, async ({ skip }) => {
    needs(skip, 'devMode');
    const messages = [{ role: 'user', content: 'x' }];
    const chat = { model: target.model, messages, max_tokens: longest(), ignore_eos: true, stream: true };
    const talk = await running(send({ ...chat, request_id: 'talk' }, {}, '/v1/chat/completions'));
    await post('/abort_requests', { request_ids: ['chatcmpl-talk'] });
    expect(finishOf(await talk.end())).toBe('abort');
  });

  it('aborts everything for an empty list', options, async ({ skip }) => {
    needs(skip, 'devMode');
    const both = await Promise.all([running(send()), running(send())]);
    expect(json(await post('/abort_requests', { request_ids: [] }))).toEqual({ status: 'aborted', aborted: 2 });
    await Promise.all(both.map((request) => request.end()));
    expect(both.map(finishOf)).toEqual(['abort', 'abort']);
  });

  it('stops computing when a client leaves in the middle', options, async ({ skip }) => {
    needs(skip);
    const stream = await running(send());
    stream.leave();
    await gauge('num_requests_running', (value) => value === 0);
  });

  it(
    'serves who waits in order of priority, the header before the body, and displaces nobody',
    options,
    async ({ skip }) => {
      needs(skip, 'devMode', 'priority', 'seats4');
      const fillers = await Promise.all([0, 1, 2, 3].map(() => running(send())));
      const order: string[] = [];
      const late = (name: string, priority: number, headers: Record<string, string> = {}) => {
        const request = send(completion({ max_tokens: 30, priority }), headers);
        void request
          .until(({ frames }) => frames.length > 0)
          .then(
            () => order.push(name),
            () => order.push(`${name} failed`),
          );
        return request;
      };
      const waiting = [late('10', 10), late('5', 5), late('-5', -5), late('-9', 99, { 'X-Vllm-Priority': '-9' })];
      await Promise.all(waiting.map((request) => request.until(({ text }) => text.includes('200 OK'))));
      await settle();
      const preemptions = await metric('num_preemptions_total');
      // One seat, so that they pass through it one after the other.
      fillers[0]!.leave();
      await Promise.all(waiting.map((request) => request.end()));
      expect(order).toEqual(['-9', '-5', '5', '10']);
      expect((await metric('num_preemptions_total')) - preemptions).toBe(0);
    },
  );

  it('interleaves the choices of n=2 and counts the prompt once', options, async ({ skip }) => {
    needs(skip);
    const stream = await send(completion({ n: 2, max_tokens: 3, stream_options: { include_usage: true } })).end();
    const frames = stream.frames.filter((frame) => frame.startsWith('{')).map((frame) => JSON.parse(frame));
    const indices = new Set(frames.flatMap(({ choices }) => choices.map(({ index }: { index: number }) => index)));
    expect([...indices].sort()).toEqual([0, 1]);
    const { usage } = frames.find(({ choices }) => choices.length === 0);
    expect(usage.completion_tokens).toBe(6);
    expect(usage.prompt_tokens).toBeLessThan(10);
  });

  it(
    'runs a call on the data-parallel rank that a header names, and refuses one that it has not',
    options,
    async ({ skip }) => {
      needs(skip);
      const written = async (): Promise<Map<string, number>> => {
        const { body } = await ask(target, 'GET', '/metrics');
        const series = body.matchAll(/^vllm:generation_tokens_total\{engine="(\d+)".* (\S+)$/gm);
        return new Map([...series].map(([, rank, tokens]) => [rank!, Number(tokens)]));
      };
      const before = await written();
      const ranks = before.size;
      const named = (rank: number, stream: boolean) =>
        send(completion({ max_tokens: 3, stream }), { 'X-data-parallel-rank': String(rank) }).end();
      for (let rank = 0; rank < ranks; rank++) {
        for (const stream of [true, false]) expect((await named(rank, stream)).text).toContain('200 OK');
      }
      const each = new Map([...before].map(([rank, tokens]) => [rank, tokens + 6]));
      let now = await written();
      while (target.real && sum(now) < sum(each)) now = await written();
      expect(now).toEqual(each);
      const message = `data_parallel_rank ${ranks} is out of range [0, ${ranks}).`;
      const refused = await named(ranks, false);
      expect(refused.text).toContain('400 Bad Request');
      expect(refused.text).toContain(
        `{"error":{"message":"${message}","type":"BadRequestError","param":null,"code":400}}`,
      );
      const error = `{"error": {"message": "${message}", "type": "BadRequestError", "param": null, "code": 400}}`;
      expect((await named(ranks, true)).frames).toEqual([error, '[DONE]']);
    },
  );

  it('closes idle connections by itself, after several requests on one', options, async ({ skip }) => {
    needs(skip);
    const { hostname, port } = new URL(target.url);
    const socket = connect(Number(port), hostname);
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    const closed = new Promise<void>((resolve) => socket.on('end', resolve));
    socket.write('GET /version HTTP/1.1\r\nHost: h\r\n\r\nGET /version HTTP/1.1\r\nHost: h\r\n\r\n');
    await closed;
    socket.destroy();
    expect(received.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  });
});

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((all, count) => all + count, 0);
}
