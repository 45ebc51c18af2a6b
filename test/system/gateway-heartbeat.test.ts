/** Streams that wait: comments while nothing has come, then the engine's own bytes, or an error event of the route. */
import { once } from 'node:events';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { streamText } from 'ai';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { launchEmulator } from '../../src/engine/emulator/launch.js';
import { EnginePath } from '../../src/engine/vllm/data-path.js';
import { MaestroError } from '../../src/model/error.js';
import {
  beginStream,
  COMPLETION,
  chatBody,
  closeRig,
  contentFrame,
  DONE_FRAME,
  postChat,
  type Rig,
  type RigOptions,
  rawChat,
  sendCompletion,
  startRig,
  USAGE_FRAME,
  until,
} from './gateway-fixture.js';

const COMMENT = ': keep-alive\n\n';
let rig: Rig;

async function start(options: RigOptions = {}): Promise<void> {
  rig = await startRig({ ...options, config: { heartbeatMs: 1, ...options.config } });
}

afterEach(() => closeRig(rig));

/** Posts a request that the levels hold until two comments have come; gives what follows them. */
async function heldThen(
  path: string,
  body: object,
  next: () => void,
): Promise<{ answer: Response; told: string; rest: string }> {
  rig.scheduling.onSubmit = () => {};
  const answer = await fetch(rig.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  let text = '';
  let waits = true;
  const decoder = new TextDecoder();
  for await (const piece of answer.body!) {
    text += decoder.decode(piece as Uint8Array, { stream: true });
    if (!waits || !text.startsWith(COMMENT + COMMENT)) continue;
    waits = false;
    next();
  }
  const [, told = '', rest = ''] = /^(?:: keep-alive\n\n)+((?:: .*\n)*\n)?([\s\S]*)$/.exec(text)!;
  return { answer, told, rest };
}

const startHeld = () => rig.scheduling.start(rig.scheduling.submitted.at(-1)!);
const STREAM = { model: 'tiny', stream: true, max_tokens: 6, messages: [{ role: 'user', content: 'hello' }] };

describe('a stream that waits', () => {
  it('in the queue gets its headers and comments, then the bytes of the engine', async () => {
    await start();
    const frames = contentFrame('a') + contentFrame('b', 'stop');
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('a'));
      void until(() => rig.scheduling.submitted[0]!.firstTokens === 1).then(() =>
        res.end(contentFrame('b', 'stop') + USAGE_FRAME + DONE_FRAME),
      );
    };
    const { answer, told, rest } = await heldThen('/v1/chat/completions', STREAM, startHeld);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-maestro-engine')).toBeNull();
    expect(told).toBe(
      ': x-maestro-queue-ms: 12\n: x-maestro-node: node-1\n: x-maestro-engine: engine-1\n: x-maestro-policy: fcfs\n\n',
    );
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-request-id': expect.stringMatching(/^req-/),
      'x-maestro-class': 'interactive',
    });
    expect(rest).toBe(frames + DONE_FRAME);
    expect(rig.scheduling.submitted[0]).toMatchObject({ firstTokens: 1 });
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([
      { kind: 'completed', httpStatus: 200, promptTokens: 19, outputTokens: 6 },
    ]);
    expect(await rig.metrics.registry.getSingleMetricAsString('maestro_heartbeats_total')).toMatch(/_total [2-9]/);
  });

  it('in its engine gets comments too', async () => {
    await start();
    rig.script = ({ res }) => beginStream(res);
    const answer = await postChat(rig, chatBody({ stream: true }));
    expect(answer.headers.get('x-maestro-engine')).toBe('engine-1');
    rig.received[0]!.res.end(contentFrame('a', 'stop') + DONE_FRAME);
    expect(await answer.text()).toMatch(/^(: keep-alive\n\n)+data: [^:]/);
  });

  it('is placed again when its engine does not take the connection, and the client sees nothing of it', async () => {
    await start();
    rig.scheduling.maxPlacements = 2;
    rig.script = ({ res }) => {
      beginStream(res);
      res.end(contentFrame('a', 'stop') + DONE_FRAME);
    };
    const { startOf } = rig.scheduling;
    const nobody = new EnginePath({ origin: 'http://127.0.0.1:9', keepAliveMs: 1000, clock: new WallClock() });
    const { rest } = await heldThen('/v1/chat/completions', STREAM, () => {
      rig.scheduling.submitted[0]!.listener.onStart({
        ...startOf(rig.scheduling.submitted[0]!.stage),
        dataPath: nobody,
      });
    });
    expect(rest).toBe(contentFrame('a', 'stop') + DONE_FRAME);
    expect(rig.scheduling.submitted[0]!.placements).toBe(2);
  });

  it('of HTTP/1.0 comes without chunks and ends with its connection', async () => {
    await start();
    rig.scheduling.onSubmit = () => {};
    rig.script = ({ res }) => {
      beginStream(res);
      res.end(contentFrame('a', 'stop') + DONE_FRAME);
    };
    const socket = rig.rawRequest(rawChat(chatBody({ stream: true })).replace('HTTP/1.1', 'HTTP/1.0'));
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += String(bytes);
    });
    await until(() => text.includes(COMMENT));
    startHeld();
    await once(socket, 'close');
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toMatch(
      /^(: keep-alive\n\n)+(: x-maestro-.*\n)+\ndata: \{.*\}\n\ndata: \[DONE\]\n\n$/,
    );
  });

  it('ends at once when its client leaves', async () => {
    await start();
    rig.scheduling.onSubmit = () => {};
    const socket = rig.rawRequest(rawChat(chatBody({ stream: true })));
    await once(socket, 'data');
    socket.destroy();
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'client_cancelled', httpStatus: 499 }]);
    rig.scheduling.start(rig.scheduling.submitted[0]!);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.received).toHaveLength(0);
  });
});

describe('no comment', () => {
  it.each([
    ['for an answer that is no stream', { heartbeatMs: 1 }, {}],
    ['where they are switched off', { heartbeatMs: 0 }, { stream: true }],
    ['before the first interval is over: the status is the real one', { heartbeatMs: 60_000 }, { stream: true }],
  ])('%s', async (_name, config, fields) => {
    await start({ config: { ...config, timeouts: { queueMs: 350 } } });
    rig.scheduling.onSubmit = () => {};
    const answer = await postChat(rig, chatBody(fields));
    expect(answer.status).toBe(429);
    expect(await answer.json()).toMatchObject({ error: { code: 'queue_timeout' } });
  });
});

describe('an answer that comes whole', () => {
  const INTERIM = 'HTTP/1.1 102 Processing\r\n\r\n';
  const config = { heartbeatMs: 0, heartbeatWholeMs: 1 };

  /** Holds a request until two signs of life were due; gives what follows the interim responses. */
  async function rawHeld(request: string, next: () => void, awaited = INTERIM + INTERIM): Promise<string> {
    rig.scheduling.onSubmit = () => {};
    const socket = rig.rawRequest(request);
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += String(bytes);
    });
    await until(() => text.startsWith(awaited) && rig.scheduling.submitted.length === 1);
    next();
    await until(() => rig.gateway.openRequests === 0 && text.replaceAll(INTERIM, '').endsWith('}'));
    socket.destroy();
    return text.replaceAll(INTERIM, '');
  }

  it('is announced by interim responses, and is what it is without them', async () => {
    await start({ config });
    rig.script = ({ res }) => sendCompletion(res);
    const text = await rawHeld(rawChat(chatBody()), startHeld);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toEqual(COMPLETION);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'completed', httpStatus: 200 }]);
  });

  it('keeps its own status when it fails', async () => {
    await start({ config });
    const full = new MaestroError('queue_full', 'Full.', { retryAfterMs: 2000 });
    const text = await rawHeld(rawChat(chatBody()), () => rig.scheduling.submitted[0]!.listener.onReject(full));
    expect(text).toMatch(/^HTTP\/1\.1 429 Too Many Requests\r\n/);
    expect(text).toMatch(/\r\nretry-after: 2\r\n/);
  });

  it('comes without them to a client of HTTP/1.0, which knows none', async () => {
    await start({ config: { ...config, timeouts: { queueMs: 350 } } });
    const request = rawChat(chatBody()).replace('HTTP/1.1', 'HTTP/1.0');
    expect(await rawHeld(request, () => {}, '')).toMatch(/^HTTP\/1\.1 429 /);
    expect(await rig.metrics.registry.getSingleMetricAsString('maestro_heartbeats_total')).toMatch(/_total 0/);
  });

  it('is found behind them by fetch and the SDKs of OpenAI and Anthropic', async () => {
    await start({ config });
    rig.script = ({ res }) => sendCompletion(res);
    rig.scheduling.onSubmit = () => {};
    const beats = async () =>
      Number(/_total (\d+)/.exec(await rig.metrics.registry.getSingleMetricAsString('maestro_heartbeats_total'))![1]);
    const held = async <T>(call: Promise<T>): Promise<T> => {
      const before = await beats();
      while ((await beats()) < before + 2) await new Promise((resolve) => setImmediate(resolve));
      startHeld();
      return call;
    };
    const messages = [{ role: 'user' as const, content: 'hello' }];
    const options = { baseURL: `${rig.url}/v1`, apiKey: 'any', maxRetries: 0 };
    expect(await (await held(postChat(rig, chatBody()))).json()).toEqual(COMPLETION);
    expect(await held(new OpenAI(options).chat.completions.create({ model: 'tiny', messages }))).toMatchObject(
      COMPLETION,
    );
    const anthropic = new Anthropic({ ...options, baseURL: rig.url });
    expect(await held(anthropic.messages.create({ model: 'tiny', max_tokens: 5, messages }))).toMatchObject(COMPLETION);
  });
});

describe('what fails after the first comment is told by an event', () => {
  const PATHS = [
    ['/v1/chat/completions', STREAM],
    ['/v1/completions', { model: 'tiny', stream: true, prompt: 'hello' }],
    ['/v1/messages', STREAM],
    ['/v1/responses', { model: 'tiny', stream: true, input: 'hello' }],
  ] as const;
  const EVENTS: Record<string, (message: string, type: object, code: string) => string> = {
    openai: (message, type) => `data: ${JSON.stringify({ error: { message, ...type } })}\n\n`,
    anthropic: (message, type) =>
      `event: error\ndata: ${JSON.stringify({ type: 'error', error: { ...type, message } })}\n\n`,
    responses: (message, _type, code) =>
      `event: response.failed\ndata: ${JSON.stringify({
        type: 'response.failed',
        sequence_number: 0,
        response: { id: null, object: 'response', status: 'failed', error: { code, message }, output: [] },
      })}\n\n`,
  };
  const dialectOf = (path: string) =>
    path.endsWith('messages') ? 'anthropic' : path.endsWith('responses') ? 'responses' : 'openai';

  it.each(PATHS)('%s: turned away by the levels', async (path, body) => {
    await start();
    const { rest } = await heldThen(path, body, () =>
      rig.scheduling.submitted[0]!.listener.onReject(new MaestroError('queue_full', 'Full.')),
    );
    const openai = { type: 'rate_limit_error', param: null, code: 'queue_full' };
    const type = dialectOf(path) === 'anthropic' ? { type: 'rate_limit_error' } : openai;
    expect(rest).toBe(EVENTS[dialectOf(path)]!('Full.', type, 'rate_limit_exceeded'));
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'rejected', httpStatus: 200 }]);
  });

  it.each(PATHS)('%s: refused by the engine', async (path, body) => {
    await start();
    rig.script = ({ res }) => {
      res.writeHead(400, { 'content-type': 'application/json' });
      res.end('{"error": {"message": "too long", "type": "BadRequestError", "param": "input_tokens", "code": 400}}');
    };
    const { rest } = await heldThen(path, body, startHeld);
    const openai = { type: 'BadRequestError', param: 'input_tokens', code: 400 };
    const anthropic = dialectOf(path) === 'anthropic';
    const message = anthropic ? 'The engine refused the request: too long' : 'too long';
    const type = anthropic ? { type: 'invalid_request_error' } : openai;
    expect(rest).toBe(EVENTS[dialectOf(path)]!(message, type, 'invalid_prompt'));
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'rejected', reason: 'engine-rejected' }]);
  });

  it.each([
    ['the connection breaks', 'connection-lost', (res: Parameters<typeof beginStream>[0]) => res.destroy()],
    [
      'the engine sends an error first',
      'error-frame',
      (res: Parameters<typeof beginStream>[0]) => {
        beginStream(res);
        res.end(`data: {"error": {"message": "no", "type": "t", "param": null, "code": 500}}\n\n${DONE_FRAME}`);
      },
    ],
    ['the engine answers with a whole document', 'no-stream', sendCompletion],
  ] as const)('%s', async (_name, reason, script) => {
    await start();
    rig.script = ({ res }) => script(res);
    const { rest } = await heldThen('/v1/chat/completions', STREAM, startHeld);
    expect(rest).toMatch(/^data: \{"error":\{.*"code":"engine_failed"\}\}\n\n$/);
    expect(rig.scheduling.submitted[0]!.outcomes).toMatchObject([{ kind: 'engine_failed', reason }]);
  });

  it('the gateway closes', async () => {
    await start();
    const { rest } = await heldThen('/v1/chat/completions', STREAM, () => void rig.gateway.close(0));
    expect(rest).toContain('"code":"shutting_down"');
  });
});

it('an error event of the engine inside a stream is the last thing on the wire', async () => {
  await start();
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(contentFrame('a'));
  };
  const socket = rig.rawRequest(rawChat(chatBody({ stream: true })));
  let text = '';
  socket.on('data', (bytes: Buffer) => {
    text += String(bytes);
  });
  await until(() => text.includes('"a"'));
  rig.received[0]!.res.end(`data: {"error": {"message": "no"}}\n\n${DONE_FRAME}`);
  await until(() => rig.gateway.openRequests === 0);
  // A second request on the same connection is understood, so nothing stands after the last chunk.
  rig.script = ({ res }) => sendCompletion(res);
  socket.write(rawChat(chatBody()));
  await until(() => text.includes('Hello'));
  expect(text.match(/0\r\n\r\n/g)).toHaveLength(1);
  expect(text.slice(text.indexOf('0\r\n\r\n') + 5)).toMatch(/^HTTP\/1\.1 200 /);
});

describe('clients read over the comments', () => {
  it('openai, @anthropic-ai/sdk, ai, @langchain/openai', { timeout: 30_000 }, async () => {
    await start();
    const clock = new WallClock(50);
    const emulator = await launchEmulator(
      {
        model: 'llama-3.1-8b',
        gpu: 'h100-sxm',
        servedModelNames: ['tiny'],
        schedulingPolicy: 'priority',
        timeScale: 50,
      },
      clock,
    );
    const dataPath = new EnginePath({ origin: emulator.url, keepAliveMs: 1000, clock: new WallClock() });
    const { startOf } = rig.scheduling;
    rig.scheduling.startOf = (stage) => ({ ...startOf(stage), dataPath });
    // Each request is held until its client has been sent comments.
    rig.scheduling.onSubmit = (submitted) => void releaseAfterBeats(submitted);
    try {
      const baseURL = `${rig.url}/v1`;
      const messages = [{ role: 'user' as const, content: 'hello' }];
      const openai = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
      let chat = '';
      for await (const chunk of await openai.chat.completions.create({
        model: 'tiny',
        messages,
        max_tokens: 5,
        stream: true,
      })) {
        chat += chunk.choices[0]?.delta.content ?? '';
      }
      let response = '';
      for await (const event of await openai.responses.create({
        model: 'tiny',
        input: 'hello',
        max_output_tokens: 5,
        stream: true,
      })) {
        if (event.type === 'response.output_text.delta') response += event.delta;
      }
      const anthropic = new Anthropic({ baseURL: rig.url, apiKey: 'none', maxRetries: 0 });
      const message = await anthropic.messages.stream({ model: 'tiny', messages, max_tokens: 5 }).finalText();
      const vercel = createOpenAICompatible({ name: 'maestro', baseURL });
      const aiText = await streamText({ model: vercel('tiny'), messages, maxOutputTokens: 5, maxRetries: 0 }).text;
      let langchain = '';
      const chain = new ChatOpenAI({
        model: 'tiny',
        apiKey: 'none',
        maxTokens: 5,
        maxRetries: 0,
        configuration: { baseURL },
      });
      for await (const chunk of await chain.stream('hello')) langchain += String(chunk.content);
      for (const text of [chat, response, message, aiText, langchain]) expect(text).toBeTruthy();
      expect(rig.scheduling.submitted).toHaveLength(5);
      // Errors are thrown as the SDKs throw those inside a stream.
      rig.scheduling.onSubmit = (submitted) =>
        void afterBeats(2).then(() => submitted.listener.onReject(new MaestroError('queue_full', 'Full up.')));
      const read = async () => {
        for await (const _ of await openai.chat.completions.create({ model: 'tiny', messages, stream: true }));
      };
      await expect(read()).rejects.toThrow('Full up.');
      await expect(anthropic.messages.stream({ model: 'tiny', messages, max_tokens: 5 }).finalText()).rejects.toThrow(
        'Full up.',
      );
    } finally {
      dataPath.close();
      await emulator.close();
    }
  });
});

it('a request for a model that sleeps gets comments while it wakes', { timeout: 30_000 }, async () => {
  await start();
  const served = await serve({
    config: parseConfig(
      `
observe: { logLevel: silent }
gateway: { heartbeat: 50ms }
fleet:
  nodes:
    - id: n
      gpus: [h100-sxm]
      hostMemory: 64GiB
      engines: [{ id: e, model: llama-3.1-8b, gpus: [0], startAsleep: true }]
`,
      'test',
    ),
    port: 0,
  });
  try {
    const answer = await fetch(`${served.address}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...STREAM, model: 'llama-3.1-8b' }),
    });
    expect(answer.headers.get('x-maestro-engine')).toBeNull();
    expect(await answer.text()).toMatch(
      /^(: keep-alive\n\n)+(: x-maestro-.*\n)+: x-maestro-cold-start-ms: \d+\n\n(data: \{.*\}\n\n)+data: \[DONE\]\n\n$/,
    );
    const record = served.scheduling.explain(answer.headers.get('x-request-id')!);
    expect(record!.coldStartMs).toBeGreaterThan(50);
  } finally {
    await served.stop(0);
  }
});

async function beats(): Promise<number> {
  const metric = await rig.metrics.registry.getSingleMetric('maestro_heartbeats_total')!.get();
  return metric.values[0]?.value ?? 0;
}

async function afterBeats(count: number): Promise<void> {
  const before = await beats();
  while ((await beats()) < before + count) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function releaseAfterBeats(submitted: Rig['scheduling']['submitted'][number]): Promise<void> {
  await afterBeats(2);
  rig.scheduling.start(submitted);
}
