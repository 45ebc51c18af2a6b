import type { AddressInfo } from 'node:net';
import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { EnginePath } from '../../src/engine/vllm/data-path.js';
import {
  beginStream,
  COMPLETION,
  chatBody,
  closeRig,
  contentFrame,
  DONE_FRAME,
  postChat,
  type Rig,
  sendCompletion,
  startRig,
  USAGE_FRAME,
  until,
} from './gateway-fixture.js';

let rig: Rig;

beforeEach(async () => {
  rig = await startRig({ upstreamModel: 'tiny-served' });
});

afterEach(() => closeRig(rig));

function streamScript(...frames: string[]) {
  rig.script = ({ res }) => {
    beginStream(res);
    for (const frame of frames) res.write(frame);
    res.end();
  };
}

describe('a whole answer', () => {
  it('comes through byte for byte, and the levels learn what it cost', async () => {
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe(JSON.stringify(COMPLETION));
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({
      kind: 'completed',
      httpStatus: 200,
      promptTokens: 19,
      cachedTokens: 16,
      outputTokens: 6,
      finishReason: 'stop',
      toolCalled: false,
    });
    // It ended with its first bytes.
    expect(rig.scheduling.submitted[0]!.firstTokens).toBe(0);
  });

  it('says in its headers where it went', async () => {
    const answer = await postChat(rig, chatBody(), {
      'x-request-id': 'my-id.1',
      'x-maestro-workflow': 'run 7',
      'x-maestro-agent': 'coder',
      'x-maestro-class': 'batch',
    });
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'x-request-id': 'my-id.1',
      'x-maestro-workflow': 'run 7',
      'x-maestro-identity-source': 'maestro-headers',
      'x-maestro-class': 'batch',
      'x-maestro-queue-ms': '12',
      'x-maestro-node': 'node-1',
      'x-maestro-engine': 'engine-1',
      'x-maestro-policy': 'fcfs',
    });
    expect(answer.headers.has('x-maestro-cold-start-ms')).toBe(false);
    const explained = (await (await fetch(`${rig.url}/v1/maestro/requests/my-id.1`)).json()) as {
      stage: { role: string };
    };
    expect(explained.stage.role).toBe('coder');
  });
});

describe('what the engine gets', () => {
  it('is the client body with only our values changed', async () => {
    const body =
      '{ "model" : "gpt-4o",\n "messages":[{"role":"user","content":"h\\u00e9 \\"x\\" é"}], "priority": -3, "kv_transfer_params":{"a":1},' +
      ' "vllm_xargs":{"k":[1]}, "cache_salt":"s", "unknown": 1.50, "stream":true }';
    streamScript(contentFrame('a', 'stop'), USAGE_FRAME, DONE_FRAME);
    await (await postChat(rig, body)).text();
    expect(rig.received[0]!.body).toBe(
      body
        .replace('"gpt-4o"', '"tiny-served"')
        .replace('-3', '7')
        .replace('{"a":1}', 'null')
        .replace(/ }$/, ' ,"stream_options":{"include_usage":true}}'),
    );
  });

  it('has our request id and the tracing headers, and no credentials', async () => {
    await postChat(rig, chatBody(), {
      authorization: 'Bearer sk-client-secret',
      'x-api-key': 'sk-client-secret',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'x-session-id': 's1',
      'x-vllm-priority': '-100',
      'x-data-parallel-rank': '3',
    });
    const { headers } = rig.received[0]!.req;
    expect(headers['x-request-id']).toBe(rig.scheduling.submitted[0]!.stage.stageId);
    expect(headers['traceparent']).toContain('0af7651916cd43dd8448eb211c80319c');
    expect(headers['x-session-id']).toBe('s1');
    for (const name of ['authorization', 'x-api-key', 'x-vllm-priority', 'x-data-parallel-rank']) {
      expect(headers[name], name).toBeUndefined();
    }
  });
});

describe('an engine with data-parallel ranks', () => {
  it('is told the rank that was chosen, and not the one that a client names', async () => {
    const { startOf } = rig.scheduling;
    rig.scheduling.startOf = (stage) => ({ ...startOf(stage), rank: 0 });
    await postChat(rig, chatBody(), { 'x-data-parallel-rank': '3' });
    rig.scheduling.startOf = startOf;
    expect(rig.received[0]!.req.headers['x-data-parallel-rank']).toBe('0');
  });
});

describe('the openai client', () => {
  const client = (headers: Record<string, string> = {}) =>
    new OpenAI({ baseURL: `${rig.url}/v1`, apiKey: 'anything', maxRetries: 0, defaultHeaders: headers });
  const messages = [{ role: 'user' as const, content: 'hello' }];

  it('gets a whole answer', async () => {
    const answer = await client().chat.completions.create({ model: 'tiny', messages });
    expect(answer.choices[0]?.message.content).toBe('Hello "usage" world');
    expect(answer.usage?.completion_tokens).toBe(6);
  });

  it('gets a stream, without the usage frame unless it asks', async () => {
    streamScript(contentFrame(''), contentFrame('Hel'), contentFrame('lo', 'stop'), USAGE_FRAME, DONE_FRAME);
    for (const include_usage of [false, true]) {
      const stream = await client().chat.completions.create({
        model: 'tiny',
        messages,
        stream: true,
        stream_options: { include_usage },
      });
      let text = '';
      let usage = 0;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage += chunk.usage ? 1 : 0;
      }
      expect(text).toBe('Hello');
      expect(usage).toBe(include_usage ? 1 : 0);
    }
    expect(rig.received.map(({ body }) => body.includes('"include_usage":true'))).toEqual([true, true]);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'completed', outputTokens: 6 });
  });

  it('gets typed errors', async () => {
    await expect(client().chat.completions.create({ model: 'nope', messages })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    );
    rig.script = ({ res }) => {
      res.writeHead(400, { 'content-type': 'application/json' });
      res.end('{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}');
    };
    await expect(client().chat.completions.create({ model: 'tiny', messages })).rejects.toMatchObject({
      status: 400,
      param: 'input_tokens',
    });
    expect(rig.received).toHaveLength(1);
  });

  it('gets an error from a stream that breaks', async () => {
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('Hel'), () => res.destroy());
    };
    const stream = await client().chat.completions.create({ model: 'tiny', messages, stream: true });
    let text = '';
    await expect(async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    }).rejects.toThrow(/engine failed/);
    expect(text).toBe('Hel');
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({
      kind: 'engine_failed',
      reason: 'connection-lost',
    });
  });

  it('aborts, and the engine is told', async () => {
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('Hel'));
    };
    const stream = await client().chat.completions.create({ model: 'tiny', messages, stream: true });
    for await (const _chunk of stream) break;
    await rig.received[0]!.aborted;
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'client_cancelled', httpStatus: 499 });
  });

  it('lists models and embeds', async () => {
    const models = await client().models.list();
    expect(models.data.map(({ id }) => id)).toEqual(['tiny', 'gpt-4o', 'org/tiny-1']);
    expect((await client().models.retrieve('org/tiny-1')).id).toBe('org/tiny-1');
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(
        '{"object":"list","data":[{"index":0,"object":"embedding","embedding":[0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}',
      );
    };
    const embedded = await client().embeddings.create({ model: 'tiny', input: 'x', encoding_format: 'float' });
    expect(embedded.data[0]?.embedding).toEqual([0.5]);
    expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ maxTokens: 0 });
  });
});

describe('engine errors', () => {
  const cases = [
    { sent: 400, got: 400, kind: 'rejected', body: /"message":"no"/, retryAfter: null },
    { sent: 429, got: 429, kind: 'rejected', body: /"message":"no"/, retryAfter: '17' },
    { sent: 503, got: 503, kind: 'rejected', body: /"message":"no"/, retryAfter: '17' },
    { sent: 401, got: 502, kind: 'engine_failed', body: /does not accept this gateway/, retryAfter: '1' },
    { sent: 500, got: 502, kind: 'engine_failed', body: /failed to answer/, retryAfter: '1' },
  ];
  it.each(cases)('$sent is told as $got, after one attempt', async ({ sent, got, kind, body, retryAfter }) => {
    rig.script = ({ res }) => {
      const headers: Record<string, string> = { 'content-type': 'application/json', 'x-engine-note': 'kept' };
      if (sent === 429 || sent === 503) headers['retry-after'] = '17';
      res.writeHead(sent, headers);
      res.end('{"error":{"message":"no","type":"t","param":null,"code":1}}');
    };
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(got);
    expect(await answer.text()).toMatch(body);
    expect(answer.headers.get('retry-after')).toBe(retryAfter);
    expect(answer.headers.get('x-engine-note')).toBe(got === sent ? 'kept' : null);
    expect(rig.received).toHaveLength(1);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind });
  });

  it.each([
    [64 * 1024, 'kept'],
    [64 * 1024 + 1, 'dropped'],
    [8 * 1024 * 1024, 'dropped'],
  ])('of an error body of %i bytes the words are %s', async (bytes, fate) => {
    const said = (words: string) => `{"error":{"message":"${words}","type":"t","param":null,"code":1}}`;
    rig.script = ({ res }) => {
      res.writeHead(400, { 'content-type': 'application/json' });
      res.end(said('x'.repeat(bytes - said('').length)));
    };
    const answer = await postChat(rig, chatBody());
    const text = await answer.text();
    expect(answer.status).toBe(400);
    if (fate === 'kept') expect(text).toHaveLength(bytes);
    else expect(JSON.parse(text)).toMatchObject({ error: { message: 'The engine refused the request.' } });
  });

  it('an endpoint that the engine lacks is told in the usual shape', async () => {
    rig.script = ({ res }) => {
      res.writeHead(404, { 'content-type': 'application/json' });
      res.end('{"detail":"Not Found"}');
    };
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringContaining('does not serve this endpoint') },
    });
  });

  it('a refused connection asks for another place, then tells so', async () => {
    rig.scheduling.maxPlacements = 3;
    rig.engine.closeAllConnections();
    await new Promise((resolve) => rig.engine.close(resolve));
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(502);
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(rig.scheduling.submitted[0]).toMatchObject({
      placements: 3,
      refusals: [true, true, true],
      outcomes: [{ kind: 'engine_failed', reason: 'refused' }],
    });
  });

  it('a connection that fails for another reason does not say that nobody listens', async () => {
    const { startOf } = rig.scheduling;
    const { port } = rig.engine.address() as AddressInfo;
    // Somebody listens, who knows no TLS.
    const dataPath = new EnginePath({ origin: `https://127.0.0.1:${port}`, keepAliveMs: 1000, clock: new WallClock() });
    rig.scheduling.startOf = (stage) => ({ ...startOf(stage), dataPath });
    expect((await postChat(rig, chatBody())).status).toBe(502);
    expect(rig.scheduling.submitted[0]).toMatchObject({ placements: 1, refusals: [false] });
    expect(rig.received).toHaveLength(0);
    dataPath.close();
  });

  it('a connection lost before the answer is 502 and is not tried again', async () => {
    rig.scheduling.maxPlacements = 3;
    rig.script = ({ res }) => res.destroy();
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(502);
    expect(rig.scheduling.submitted[0]).toMatchObject({ placements: 1, outcomes: [{ reason: 'connection-lost' }] });
    expect(rig.received).toHaveLength(1);
  });
});

it('cookies of an engine end here, and what its connection is about', async () => {
  rig.script = ({ res }) => {
    const own = { 'set-cookie': 'a=1', connection: 'keep-alive, X-Hop', 'x-hop': '1', 'x-kept': '2' };
    const body = JSON.stringify(COMPLETION);
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length, ...own }).end(body);
  };
  const { headers } = await postChat(rig, chatBody());
  expect(headers.get('x-kept')).toBe('2');
  expect([headers.get('set-cookie'), headers.get('x-hop')]).toEqual([null, null]);
});

it.each([{}, { max_tokens: 1e300 }])(
  'a bound is finite though nobody says how long a context may be: %j',
  async (limit) => {
    const { scheduling } = rig;
    const [model] = scheduling.models();
    scheduling.models = () => [{ ...model!, maxModelLen: Number.POSITIVE_INFINITY }];
    await postChat(rig, JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'x' }], ...limit }));
    expect(scheduling.submitted[0]!.stage.maxTokens).toBe(2 ** 20);
  },
);

it('an id of our own making is not taken from a client: the next request could have it', async () => {
  const idOf = (answer: Response) => answer.headers.get('x-request-id')!;
  const ours = idOf(await postChat(rig, chatBody()));
  expect(ours).toMatch(/^req-/);
  expect(idOf(await postChat(rig, chatBody(), { 'x-request-id': ours }))).not.toBe(ours);
});

describe('an engine that is wanted for others', () => {
  it('loses a request that has no answer yet, and none whose answer has begun', async () => {
    rig.script = () => {};
    const answer = postChat(rig, chatBody({ stream: true }));
    await until(() => rig.received.length === 1);
    const { listener } = rig.scheduling.submitted[0]!;
    expect(listener.onRequeue()).toBe(true);
    await rig.received[0]!.aborted;
    expect(listener.onRequeue()).toBe(false);
    let finish = () => {};
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(contentFrame('begun'));
      finish = () => res.end(DONE_FRAME);
    };
    rig.scheduling.start(rig.scheduling.submitted[0]!);
    expect((await answer).status).toBe(200);
    expect(listener.onRequeue()).toBe(false);
    finish();
    expect(await (await answer).text()).toBe(contentFrame('begun') + DONE_FRAME);
  });
});

describe('a stream that breaks', () => {
  const ERROR_FRAME = 'data: {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}\n\n';

  it('ends with one error event and no [DONE] when the connection dies', async () => {
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(`${contentFrame('a')}${contentFrame('b')}data: {"choi`, () => res.destroy());
    };
    const text = await (await postChat(rig, chatBody({ stream: true }))).text();
    expect(text.startsWith(contentFrame('a') + contentFrame('b'))).toBe(true);
    const rest = text.slice((contentFrame('a') + contentFrame('b')).length);
    expect(rest).toMatch(/^data: \{"error":\{"message":"[^"]+","type":"engine_error".*\}\n\n$/);
  });

  it('passes the error of the engine and drops the [DONE] behind it', async () => {
    streamScript(contentFrame('a'), ERROR_FRAME, DONE_FRAME);
    const text = await (await postChat(rig, chatBody({ stream: true }))).text();
    expect(text).toBe(contentFrame('a') + ERROR_FRAME);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'engine_failed', reason: 'error-frame' });
  });

  it('is an error status when nothing else has come', async () => {
    streamScript(ERROR_FRAME, DONE_FRAME);
    const answer = await postChat(rig, chatBody({ stream: true }));
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ error: { code: 'engine_failed' } });
  });

  it('is told when the engine ends cleanly without [DONE]', async () => {
    streamScript(contentFrame('a'));
    const text = await (await postChat(rig, chatBody({ stream: true }))).text();
    expect(text).toMatch(/"error"/);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'engine_failed', reason: 'truncated' });
  });

  it('cuts a whole answer that breaks, so that nobody takes it for complete', async () => {
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      res.write('{"id":1', () => setImmediate(() => res.destroy()));
    };
    await expect(postChat(rig, chatBody()).then((answer) => answer.text())).rejects.toThrow();
    await until(() => rig.gateway.openRequests === 0);
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'engine_failed' });
  });
});

describe('requests that are refused at the door', () => {
  it.each([
    ['cut short', '{"model":"tiny"', 400, /line 1, column 16/],
    ['not an object', '[]', 400, /expected a JSON object/],
    ['twice the same field', '{"model":"tiny","model":"x","messages":[]}', 400, /given twice/],
    ['without a model', '{"messages":[]}', 400, /"model" must name a model/],
    ['without messages', '{"model":"tiny"}', 400, /"messages" is missing/],
    ['unknown model', chatBody({ model: 'no-such' }), 404, /Served: tiny, gpt-4o/],
    ['stream of a wrong type', chatBody({ stream: 'true' }), 400, /"stream" must be true or false/],
    ['too many choices', chatBody({ n: 100_000 }), 400, /"n" must be between/],
  ])('%s', async (_name, body, status, message) => {
    const answer = await postChat(rig, body);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('x-request-id')).toMatch(/^req-/);
    const { error } = (await answer.json()) as { error: { message: string } };
    expect(error.message).toMatch(message);
    expect(rig.received).toHaveLength(0);
    expect(rig.metrics.ledger().outcomes.rejected).toBe(1);
  });

  it('another content type', async () => {
    const answer = await postChat(rig, chatBody(), { 'content-type': 'application/x-www-form-urlencoded' });
    expect(answer.status).toBe(415);
  });

  it('a stage that the levels reject', async () => {
    const { MaestroError } = await import('../../src/model/error.js');
    rig.scheduling.onSubmit = ({ listener }) =>
      listener.onReject(new MaestroError('queue_full', 'The queue is full.', { reason: 'tenant', retryAfterMs: 2500 }));
    const answer = await postChat(rig, chatBody());
    expect(answer.status).toBe(429);
    expect(answer.headers.get('retry-after')).toBe('3');
    expect(answer.headers.get('x-maestro-reason')).toBe('tenant');
    expect(rig.scheduling.submitted[0]!.outcomes[0]).toMatchObject({ kind: 'rejected', reason: 'tenant' });
  });
});

describe('routes', () => {
  it.each([
    ['GET', '/health', 200],
    ['HEAD', '/health', 200],
    ['GET', '/livez', 200],
    ['GET', '/readyz', 200],
    ['GET', '/v1/models', 200],
    ['GET', '/v1/models/org%2Ftiny-1', 200],
    ['GET', '/v1/models/nope', 404],
    ['GET', '/v1/chat/completions', 405],
    ['DELETE', '/v1/models', 405],
    ['OPTIONS', '/v1/chat/completions', 204],
    ['POST', '/tokenize', 404],
    ['POST', '/sleep', 404],
    ['POST', '/invocations', 404],
    ['GET', '/', 200],
    ['HEAD', '/live.css', 200],
    ['GET', '/live.json', 404],
    ['GET', '/v1/maestro/requests/unknown', 404],
  ])('%s %s is %i', async (method, path, status) => {
    const answer = await fetch(rig.url + path, { method });
    expect(answer.status).toBe(status);
    if (status >= 400) expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    expect(rig.received).toHaveLength(0);
  });

  it('show a page that runs its own script alone', async () => {
    const answer = await fetch(`${rig.url}/?from=elsewhere`);
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('content-security-policy')).toContain("script-src 'self'");
    expect(await answer.text()).toContain('<script type="module" src="live.js">');
  });

  it('carry identity in the path', async () => {
    const answer = await fetch(`${rig.url}/w/run-9/a/planner/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody(),
    });
    expect(answer.headers.get('x-maestro-workflow')).toBe('run-9');
    expect(answer.headers.get('x-maestro-identity-source')).toBe('path');
    expect(rig.scheduling.submitted[0]!.stage.role).toBe('planner');
    expect(rig.received[0]!.req.url).toBe('/v1/chat/completions');
  });

  it('readyz says why not', async () => {
    rig.scheduling.ready = false;
    const answer = await fetch(`${rig.url}/readyz`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ reason: 'no engine answers' });
  });

  it('identity echoes what was seen', async () => {
    const answer = await fetch(`${rig.url}/v1/maestro/identity`, { headers: { 'x-session-id': 'abc' } });
    expect(await answer.json()).toMatchObject({ workflowId: 'abc', source: 'agent-headers', sloClass: 'interactive' });
  });

  it('metrics count outcomes by closed labels', async () => {
    await postChat(rig, chatBody());
    rig.script = ({ res }) => sendCompletion(res);
    await postChat(rig, '{');
    const text = await (await fetch(`${rig.url}/metrics`)).text();
    expect(text).toContain('maestro_requests_total{route="chat",outcome="completed",class="interactive"} 1');
    expect(text).toContain('maestro_requests_total{route="chat",outcome="rejected",class="none"} 1');
    expect(text).toContain('maestro_requests_in_flight 0');
    expect(text).toContain('maestro_identity_source_total{source="none"} 1');
  });
});
