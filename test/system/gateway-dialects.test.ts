/** The Responses and the Messages API at the front door, in front of a scripted engine that answers as vLLM 0.29 does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { textGrams } from '../../src/model/text-grams.js';
import { beginStream, type Rig, startRig, until } from './gateway-fixture.js';

let rig: Rig;

beforeEach(async () => {
  rig = await startRig({ upstreamModel: 'tiny' });
});

afterEach(() => rig.close());

const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify({ type: name, ...data })}\n\n`;

const MESSAGE_EVENTS = [
  event('message_start', {
    message: { id: 'm', type: 'message', role: 'assistant', usage: { input_tokens: 19, output_tokens: 0 } },
  }),
  event('content_block_start', { content_block: { type: 'text', text: '' }, index: 0 }),
  event('content_block_delta', { delta: { type: 'text_delta', text: ' error "usage"' }, index: 0 }),
  event('content_block_stop', { index: 0 }),
  event('message_delta', {
    delta: { stop_reason: 'tool_use' },
    usage: { input_tokens: 19, output_tokens: 4, cache_read_input_tokens: 16 },
  }),
  event('message_stop', {}),
];

const RESPONSE = {
  id: 'resp_1',
  object: 'response',
  status: 'incomplete',
  output: [{ type: 'message', content: [{ type: 'output_text', text: 'x' }] }],
  usage: { input_tokens: 18, input_tokens_details: { cached_tokens: 16 }, output_tokens: 5, total_tokens: 23 },
};
const RESPONSE_EVENTS = [
  event('response.created', { response: { id: 'resp_1', status: 'in_progress', usage: null }, sequence_number: 0 }),
  event('response.output_text.delta', { delta: ' long', item_id: 'i', sequence_number: 1 }),
  event('response.completed', { response: RESPONSE, sequence_number: 2 }),
];

/** The engine streams these pieces and then ends, cleanly or by a lost connection. */
function streams(pieces: readonly string[], end: 'clean' | 'lost' = 'clean'): void {
  rig.script = ({ res }) => {
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    const send = (index: number) => {
      if (index < pieces.length) res.write(pieces[index]!, () => setImmediate(() => send(index + 1)));
      else if (end === 'clean') res.end();
      else res.destroy();
    };
    send(0);
  };
}

function post(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(rig.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

const messages = (extra: object = {}) => ({
  model: 'gpt-4o',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'x' }],
  ...extra,
});
const responses = (extra: object = {}) => ({ model: 'gpt-4o', max_output_tokens: 32, input: 'a question', ...extra });
const outcome = () => rig.scheduling.submitted[0]!.outcomes;

describe('/v1/messages', () => {
  it('streams unchanged, knows its limits and learns the counts, with a workflow of its own', async () => {
    streams(MESSAGE_EVENTS);
    const answer = await post('/w/run-1/a/coder/v1/messages', messages({ stream: true, system: 'be brief' }), {
      'x-api-key': 'k',
    });
    expect(await answer.text()).toBe(MESSAGE_EVENTS.join(''));
    expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ workflowId: 'run-1', role: 'coder', maxTokens: 64 });
    expect(outcome()).toMatchObject([
      {
        kind: 'completed',
        promptTokens: 19,
        cachedTokens: 16,
        outputTokens: 4,
        finishReason: 'tool_calls',
        toolCalled: true,
      },
    ]);
    // The alias and our order are spliced in; nothing is added that only OpenAI's streams know.
    expect(JSON.parse(rig.received[0]!.body)).toEqual({
      ...messages({ stream: true, system: 'be brief' }),
      model: 'tiny',
    });
    expect(rig.received[0]!.req.headers['x-vllm-priority']).toBe('7');
  });

  it('has a role of the system prompt, and a prompt that begins with it', async () => {
    const system = 'You write tests. '.repeat(60);
    await post('/v1/messages', messages({ system }));
    await post('/v1/messages', messages({ system: system.replace('tests', 'prose') }));
    await post('/v1/messages', messages({ system, messages: [{ role: 'user', content: 'another' }] }));
    const [first, other, again] = rig.scheduling.submitted.map(({ stage }) => stage);
    expect(first!.role).toMatch(/^prompt-/);
    expect(again!.role).toBe(first!.role);
    expect(other!.role).not.toBe(first!.role);
    expect(first!.prefixHashes.length).toBeGreaterThan(0);
    expect(again!.prefixHashes[0]).toBe(first!.prefixHashes[0]);
    expect(other!.prefixHashes).not.toContain(first!.prefixHashes[0]);
  });

  it.each([
    ['in its shape', { type: 'error', error: { type: 'BadRequestError', message: 'no' } }, 'no'],
    ["in OpenAI's", { error: { message: 'no', type: 'Bad Request', param: 'body', code: 400 } }, 'no'],
    ["in FastAPI's", { detail: 'no' }, 'no'],
    ['in none', 'no', 'The engine refused the request.'],
  ])('tells in the shape of the API what the engine says %s', async (_name, said, message) => {
    rig.script = ({ res }) => {
      res.writeHead(400, { 'content-type': 'application/json' });
      res.end(JSON.stringify(said));
    };
    const answer = await post('/v1/messages', messages());
    expect(answer.status).toBe(400);
    const { type, error } = (await answer.json()) as { type: string; error: { message: string } };
    expect(type).toBe('error');
    expect(error.message).toContain(message);
  });

  it('answers whole, and counts tokens', async () => {
    const body = {
      id: 'm',
      type: 'message',
      content: [],
      stop_reason: 'max_tokens',
      usage: { input_tokens: 3, output_tokens: 2 },
    };
    rig.script = ({ res, req }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(req.url === '/v1/messages' ? body : { input_tokens: 3 }));
    };
    expect(await (await post('/v1/messages', messages())).json()).toEqual(body);
    expect(outcome()).toMatchObject([{ kind: 'completed', promptTokens: 3, outputTokens: 2, finishReason: 'length' }]);
    expect(await (await post('/v1/messages/count_tokens', messages())).json()).toEqual({ input_tokens: 3 });
  });

  it.each([
    ['the connection is lost', [...MESSAGE_EVENTS.slice(0, 3)], 'lost'],
    ['it ends before message_stop', MESSAGE_EVENTS.slice(0, 5), 'clean'],
    [
      'vLLM reports its death in its own shape',
      [...MESSAGE_EVENTS.slice(0, 3), 'data: {"error": {"message": "dead", "code": 500}}\n\n', 'data: [DONE]\n\n'],
      'clean',
    ],
  ] as const)('ends a stream with event: error when %s', async (_, pieces, end) => {
    streams(pieces, end);
    const text = await (await post('/v1/messages', messages({ stream: true }))).text();
    expect(text).toMatch(
      /event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\}\}\n\n$/,
    );
    expect(text.match(/error"/g)!.length).toBeGreaterThan(0);
    expect(text).not.toContain('[DONE]');
    expect(text).not.toContain('"code": 500');
    expect(outcome()).toMatchObject([{ kind: 'engine_failed' }]);
  });

  it('tells its own errors in the shape of the API', async () => {
    const answer = await post('/v1/messages', messages({ model: 'nope' }));
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } });
  });
});

describe('/v1/responses', () => {
  it('streams unchanged and learns the counts from the closing event', async () => {
    streams(RESPONSE_EVENTS);
    expect(await (await post('/v1/responses', responses({ stream: true }))).text()).toBe(RESPONSE_EVENTS.join(''));
    expect(rig.scheduling.submitted[0]!.stage.maxTokens).toBe(32);
    expect(outcome()).toMatchObject([
      {
        kind: 'completed',
        promptTokens: 18,
        cachedTokens: 16,
        outputTokens: 5,
        finishReason: 'length',
        toolCalled: false,
      },
    ]);
  });

  it('takes a closing event that is too long to be held for the end all the same', async () => {
    await rig.close();
    rig = await startRig({ config: { maxFrameBytes: 200 } });
    streams(RESPONSE_EVENTS);
    expect(await (await post('/v1/responses', responses({ stream: true }))).text()).toBe(RESPONSE_EVENTS.join(''));
    expect(outcome()).toMatchObject([{ kind: 'completed' }]);
  });

  it('answers whole', async () => {
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(RESPONSE));
    };
    expect(await (await post('/v1/responses', responses())).json()).toEqual(RESPONSE);
    expect(outcome()).toMatchObject([{ kind: 'completed', promptTokens: 18, outputTokens: 5 }]);
  });

  it('ends a broken stream with response.failed, numbered on, under the id of the response', async () => {
    streams(RESPONSE_EVENTS.slice(0, 2), 'lost');
    const text = await (await post('/v1/responses', responses({ stream: true }))).text();
    const last = text.slice(RESPONSE_EVENTS.slice(0, 2).join('').length);
    expect(last.startsWith('event: response.failed\ndata: ')).toBe(true);
    expect(JSON.parse(last.slice(last.indexOf('{')))).toMatchObject({
      type: 'response.failed',
      sequence_number: 2,
      response: { id: 'resp_1', status: 'failed', error: { code: 'server_error' } },
    });
  });

  it('a response that nobody remembers is a 404', async () => {
    expect((await fetch(`${rig.url}/v1/responses/resp_1`)).status).toBe(404);
  });

  it('can be read and stopped by its id while it is still being made', async () => {
    let end = () => {};
    rig.script = ({ res, req }) => {
      const asked = `${req.method} ${req.url}`;
      if (asked === 'POST /v1/responses') {
        res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
        res.write(RESPONSE_EVENTS[0]!);
        end = () => res.end(RESPONSE_EVENTS.slice(1).join(''));
      } else {
        res.writeHead(200, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ asked }));
        if (asked.endsWith('cancel')) end();
      }
    };
    const stream = await post('/v1/responses', responses({ stream: true }));
    const seen = await fetch(`${rig.url}/v1/responses/resp_1?starting_after=1`);
    expect(await seen.json()).toEqual({ asked: 'GET /v1/responses/resp_1?starting_after=1' });
    expect(seen.headers.get('x-maestro-engine')).toBe('engine-1');
    const stopped = await fetch(`${rig.url}/v1/responses/resp_1/cancel`, { method: 'POST' });
    expect(await stopped.json()).toEqual({ asked: 'POST /v1/responses/resp_1/cancel' });
    expect(await stream.text()).toBe(RESPONSE_EVENTS.join(''));
  });

  it('is read by its id no longer than its engine and its reader go on', async () => {
    await rig.close();
    rig = await startRig({ config: { timeouts: { betweenTokensMs: 100, idleWriteMs: 300 } } });
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(RESPONSE));
    };
    await post('/v1/responses', responses());
    rig.script = ({ res }) => {
      beginStream(res);
      res.write(RESPONSE_EVENTS[0]!);
    };
    const silent = await fetch(`${rig.url}/v1/responses/resp_1?stream=true`);
    await expect(silent.text()).rejects.toThrow();
    await rig.received[1]!.aborted;
    rig.script = ({ res }) => {
      beginStream(res);
      const pump = () => {
        while (!res.destroyed) if (!res.write('x'.repeat(10_000))) return res.once('drain', pump);
        return undefined;
      };
      pump();
    };
    const socket = rig.rawRequest('GET /v1/responses/resp_1?stream=true HTTP/1.1\r\nhost: a\r\n\r\n');
    socket.pause();
    await until(() => rig.received.length === 3);
    await rig.received[2]!.aborted;
  });

  it('is a 404 when the process that kept it is gone', async () => {
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(RESPONSE));
    };
    await post('/v1/responses', responses());
    expect((await fetch(`${rig.url}/v1/responses/resp_1`)).status).toBe(200);
    rig.engine.close();
    rig.engine.closeAllConnections();
    const lost = await fetch(`${rig.url}/v1/responses/resp_1`);
    expect(lost.status).toBe(404);
    expect(await lost.json()).toMatchObject({
      error: { param: 'response_id', message: expect.stringContaining('is gone') },
    });
  });

  it('is continued in its workflow, on its engine', async () => {
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(RESPONSE));
    };
    await post('/v1/responses', responses());
    const next = await post('/v1/responses', responses({ previous_response_id: 'resp_1' }));
    const [first, second] = rig.scheduling.submitted.map(({ stage }) => stage);
    expect(second).toMatchObject({ workflowId: first!.workflowId, onlyEngineId: 'engine-1' });
    expect(next.headers.get('x-maestro-identity-source')).toBe('content');
  });

  it('is recognised in a conversation that the client keeps itself', async () => {
    const question = { role: 'user', content: 'a question' };
    await post('/v1/responses', responses({ input: [question] }));
    const input = [question, { type: 'function_call', name: 'f' }, { type: 'function_call_output', output: '1' }];
    await post('/v1/responses', responses({ input }));
    const [first, second] = rig.scheduling.submitted.map(({ stage }) => stage);
    expect(second!.workflowId).toBe(first!.workflowId);
    expect(second!.features).toMatchObject({ lastMessageKind: 'tool', messageCount: 3, lastTool: 'f' });
    expect(second!.features.lastMessageTokens).toBeGreaterThan(0);
    expect(second!.features.textGrams).toBeUndefined();
  });

  it('is read for the predictor where that is asked for', async () => {
    await rig.close();
    rig = await startRig({ config: { readsText: true } });
    await post('/v1/responses', responses({ input: 'Tell me a story' }));
    expect(rig.scheduling.submitted[0]!.stage.features.textGrams).toEqual(textGrams('tell me a STORY'));
  });

  it("is nobody else's: not to be read, not to be continued", async () => {
    await rig.close();
    const keys = ['a', 'b'].map((tenant) => ({ key: `sk-${tenant}`, tenant }));
    rig = await startRig({ config: { keys } });
    rig.script = ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify(RESPONSE));
    };
    const as = (tenant: string) => ({ authorization: `Bearer sk-${tenant}` });
    await post('/v1/responses', responses(), as('a'));
    // vLLM takes the id of a response from the request, where that names one.
    await post('/v1/responses', responses({ request_id: 'resp_1', store: false }), as('b'));
    const read = (tenant: string) => fetch(`${rig.url}/v1/responses/resp_1`, { headers: as(tenant) });
    expect([(await read('a')).status, (await read('b')).status]).toEqual([200, 404]);
    const go = (tenant: string) => post('/v1/responses', responses({ previous_response_id: 'resp_1' }), as(tenant));
    const refused = await go('b');
    expect(refused.status).toBe(404);
    expect(await refused.json()).toMatchObject({ error: { param: 'previous_response_id' } });
    expect((await go('a')).status).toBe(200);
    expect(rig.received).toHaveLength(4);
  });
});
