import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { findGpu } from '../../model/gpu-catalogue.js';
import { GiB } from '../../model/units.js';
import { VllmClient } from '../vllm/client.js';
import { discoverEngine } from '../vllm/discover.js';
import { DeviceHost } from './device-host.js';
import { kvEventsConfig } from './kv-events/publisher.js';
import { type EmulatorOptions, resolveModel } from './options.js';
import { EmulatedVllm } from './server.js';

/** One emulated server on a manual clock: HTTP is real, time moves only when told to. */
async function serve(options: Partial<EmulatorOptions> = {}, hostGiB = 64) {
  const clock = new ManualClock();
  const full: EmulatorOptions = {
    model: 'llama-3.1-8b',
    gpu: 'h100-sxm',
    servedModelNames: ['tiny'],
    kvCacheMemoryBytes: 8 * GiB,
    maxModelLen: 4096,
    enableSleepMode: true,
    enablePromptTokensDetails: true,
    devMode: true,
    ...options,
  };
  const host = new DeviceHost({ gpus: [findGpu('h100-sxm')!], hostMemoryBytes: hostGiB * GiB }, clock);
  const device = host.open();
  await device.attach({ name: 'tiny', pid: 1, gpuIndices: [0], memoryUtilization: 0 });
  const server = new EmulatedVllm({ options: full, clock, device });
  const url = await server.start();
  open.push(server);
  const post = (path: string, body?: unknown) =>
    fetch(url + path, {
      method: 'POST',
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
  const get = async (path: string) => (await fetch(url + path)).json() as Promise<Record<string, unknown>>;
  /** Moves time in small steps, giving the sockets their turns, until `done` settles. */
  const until = async <T>(done: Promise<T>): Promise<T> => {
    let settled = false;
    const watched = done.finally(() => {
      settled = true;
    });
    watched.catch(() => undefined);
    while (!settled) {
      clock.advance(50);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return watched;
  };
  /** Awaits the headers of a stream, which leave when it has passed the front end, and lets no more time go by than that takes. */
  const begun = async (answer: Promise<Response>): Promise<Response> => {
    while (server.context.open.size === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    clock.advance(22);
    return answer;
  };
  const usedGiB = () => host.snapshot().gpus[0]!.usedBytes / GiB;
  return { clock, host, server, url, post, get, until, begun, usedGiB, context: server.context };
}

const open: EmulatedVllm[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

const chat = (more: object = {}) => ({ model: 'tiny', messages: [{ role: 'user', content: 'hello' }], ...more });
const awakeGiB = 8 + 1 + 14.95;

describe('sleep and wake', () => {
  it('returns from /sleep when the copy is done and gives everything but the residue back', async () => {
    const { clock, until, post, get, usedGiB, host } = await serve();
    expect(usedGiB()).toBeCloseTo(awakeGiB, 1);
    const startedMs = clock.nowMs();
    const slept = await until(post('/sleep?level=1'));
    expect([slept.status, await slept.text()]).toEqual([200, '']);
    // The first sleep pins its host memory at 2 GB/s.
    expect(clock.nowMs() - startedMs).toBeGreaterThanOrEqual(8000);
    expect(usedGiB()).toBeCloseTo(1, 6);
    expect(host.snapshot().host.pinnedBytes / GiB).toBeCloseTo(14.95, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });

    const wokenMs = clock.nowMs();
    await until(post('/wake_up'));
    expect(clock.nowMs() - wokenMs).toBeGreaterThanOrEqual(450);
    expect(usedGiB()).toBeCloseTo(awakeGiB, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: false });
    expect(host.snapshot().host.pinnedBytes / GiB).toBeCloseTo(14.95, 1);
  });

  it('fails a wake without room, keeps what it mapped, and goes on from there', async () => {
    const { host, until, post, get, usedGiB } = await serve();
    await until(post('/sleep'));
    const other = host.open();
    await other.attach({ name: 'other', pid: 2, gpuIndices: [0], memoryUtilization: 0 });
    await other.take('weights', 60 * GiB);
    const failed = await until(post('/wake_up'));
    expect(failed.status).toBe(500);
    expect(await failed.json()).toMatchObject({
      error: { message: expect.stringMatching(/^Call to wake_up method failed: CUDA Error: out of memory/), code: 500 },
    });
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });
    expect(usedGiB()).toBeCloseTo(80, 6);
    other.close();
    expect((await until(post('/wake_up'))).status).toBe(200);
    expect(usedGiB()).toBeCloseTo(awakeGiB, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: false });
  });

  it('answers with garbage after a level-2 sleep until the weights are loaded again', async () => {
    const { until, post, get, host } = await serve();
    const ask = async () => {
      const answer = await until(
        post('/v1/completions', { model: 'tiny', prompt: 'a', max_tokens: 4, ignore_eos: true }),
      );
      return ((await answer.json()) as { choices: { text: string }[] }).choices[0]!.text;
    };
    const before = await ask();
    await until(post('/sleep?level=2'));
    expect(host.snapshot().host.pinnedBytes).toBe(0);
    await until(post('/wake_up?tags=weights'));
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });
    await until(post('/wake_up?tags=kv_cache'));
    expect(await ask()).toBe('!!!!');
    const reloaded = await until(post('/collective_rpc', { method: 'reload_weights' }));
    expect(await reloaded.json()).toEqual({ results: [null] });
    expect(await ask()).toBe(before);
  });

  it('does not change its level while asleep, but overwrites the gauge and drops who waits', async () => {
    const { until, begun, post, url, context } = await serve();
    await until(post('/sleep?level=1'));
    const { body, status } = await begun(post('/v1/chat/completions', chat({ stream: true })));
    expect(status).toBe(200);
    await until(post('/sleep?level=2'));
    const text = await new Response(body).text();
    expect(text).toMatch(/^data: \{.*"role":"assistant".*\}\n\ndata: \[DONE\]\n\n$/);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/sleep_state="discard_all"\} 1\.0/);
    await until(post('/wake_up'));
    expect(context.sleep.garbage).toBe(false);
  });

  it('refuses to fall asleep without host memory for the weights', async () => {
    const { until, post, get, usedGiB } = await serve({}, 8);
    const failed = await until(post('/sleep?level=1'));
    expect(failed.status).toBe(500);
    expect(usedGiB()).toBeCloseTo(awakeGiB, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });
    await until(post('/wake_up'));
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: false });
  });

  it('pauses and frees nothing without sleep mode', async () => {
    const { until, post, get, usedGiB } = await serve({ enableSleepMode: false });
    await until(post('/sleep'));
    expect(usedGiB()).toBeCloseTo(awakeGiB, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });
  });

  it('takes only residue and host memory when it starts asleep, and serves after a wake', async () => {
    const { until, post, usedGiB, host, get } = await serve({ startAsleep: true });
    expect(usedGiB()).toBeCloseTo(1, 6);
    expect(host.snapshot().host.pinnedBytes / GiB).toBeCloseTo(14.95, 1);
    expect(await get('/is_sleeping')).toEqual({ is_sleeping: true });
    const answer = post('/v1/chat/completions', chat({ max_tokens: 3 }));
    await until(post('/wake_up'));
    expect((await until(answer)).status).toBe(200);
  });

  it.each([
    [
      '/sleep?level=abc',
      400,
      {
        error: {
          message: "invalid literal for int() with base 10: 'abc'",
          type: 'BadRequestError',
          param: null,
          code: 400,
        },
      },
    ],
    [
      '/sleep?mode=nap',
      500,
      {
        error: {
          message: 'Call to sleep method failed: Invalid pause mode: nap',
          type: 'InternalServerError',
          param: null,
          code: 500,
        },
      },
    ],
    ['/pause?mode=nap', 400, { error: expect.objectContaining({ type: 'Bad Request', param: 'query.mode' }) }],
    [
      '/abort_requests',
      400,
      { error: { message: 'Invalid JSON format', type: 'Bad Request', param: null, code: 400 } },
    ],
  ])('%s is %i', async (path, status, body) => {
    const { post } = await serve();
    const answer = await post(path);
    expect([answer.status, await answer.json()]).toEqual([status, body]);
  });

  it('freezes and resumes streams with pause, mode keep, counting one preemption for each', async () => {
    const { until, begun, clock, post, url, context } = await serve();
    const stream = await begun(
      post('/v1/completions', { prompt: 'a', max_tokens: 50, ignore_eos: true, stream: true }),
    );
    const text = new Response(stream.body).text();
    clock.advance(100);
    await until(post('/pause?mode=keep'));
    const frozen = context.loop.stats().generatedTokens;
    clock.advance(10_000);
    expect(context.loop.stats().generatedTokens).toBe(frozen);
    await until(post('/resume'));
    const frames = (await until(text)).split('\n\n').filter((frame) => frame.startsWith('data: {'));
    expect(frames).toHaveLength(50);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^vllm:num_preemptions_total\{.*\} 1\.0$/m);
  });
});

describe('generation', () => {
  it('shares prompt prefixes and tells them in usage', async () => {
    const { until, post } = await serve();
    const ask = async (body: object) => {
      const answer = await until(post('/v1/completions', { max_tokens: 2, ...body }));
      return ((await answer.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } }).usage;
    };
    const prompt = 'lorem ipsum '.repeat(60);
    expect(await ask({ prompt })).toMatchObject({ prompt_tokens: 180, prompt_tokens_details: { cached_tokens: 0 } });
    expect((await ask({ prompt: `${prompt}and more` })).prompt_tokens_details.cached_tokens).toBe(176);
    expect((await ask({ prompt: `${prompt}and more`, cache_salt: 's' })).prompt_tokens_details.cached_tokens).toBe(0);
  });

  it('takes lengths and prefix hashes of a trace from vllm_xargs', async () => {
    const { until, post } = await serve();
    const xargs = (ids: number[], output: number) => ({
      maestro_prompt_tokens: 1100,
      maestro_output_tokens: output,
      maestro_hash_ids: ids,
      maestro_block_tokens: 512,
    });
    const ask = async (vllm_xargs: object, max_tokens: number) => {
      const answer = await until(post('/v1/chat/completions', chat({ max_tokens, vllm_xargs })));
      const { usage, choices } = (await answer.json()) as {
        usage: object;
        choices: { finish_reason: string }[];
      };
      return { ...usage, finish: choices[0]!.finish_reason };
    };
    expect(await ask(xargs([1, 2], 7), 100)).toMatchObject({
      prompt_tokens: 1100,
      completion_tokens: 7,
      finish: 'stop',
    });
    expect(await ask(xargs([1, 3], 70), 30)).toMatchObject({
      completion_tokens: 30,
      finish: 'length',
      prompt_tokens_details: { cached_tokens: 512 },
    });
  });

  it('calls tools as told, with arguments that are JSON', async () => {
    const { until, post } = await serve({ enableAutoToolChoice: true, toolCallParser: 'hermes' });
    const tools = [
      {
        type: 'function',
        function: {
          name: 'look',
          parameters: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] },
        },
      },
    ];
    const ask = async (more: object) => {
      const answer = await until(post('/v1/chat/completions', chat({ tools, ...more })));
      return (
        (await answer.json()) as {
          choices: {
            finish_reason: string;
            message: { content: string | null; tool_calls?: { id: string; function: { arguments: string } }[] };
          }[];
        }
      ).choices[0]!;
    };
    const called = await ask({ vllm_xargs: { maestro_tool_call: 1, maestro_output_tokens: 20 } });
    expect(called.finish_reason).toBe('tool_calls');
    expect(called.message.content).toBeNull();
    expect(called.message.tool_calls![0]!.id).toMatch(/^chatcmpl-tool-[0-9a-f]{16}$/);
    expect(JSON.parse(called.message.tool_calls![0]!.function.arguments)).toEqual({ q: expect.any(String) });
    const talked = await ask({ vllm_xargs: { maestro_tool_call: 0 } });
    expect([talked.finish_reason, talked.message.tool_calls]).toEqual(['stop', undefined]);
    const named = await ask({ tool_choice: { type: 'function', function: { name: 'look' } } });
    expect([named.finish_reason, named.message.tool_calls?.length]).toEqual(['stop', 1]);
  });

  it('serves embeddings with the pooling runner, and nothing else', async () => {
    const { until, post } = await serve({ runner: 'pooling' });
    expect((await post('/v1/chat/completions', chat())).status).toBe(404);
    const answer = await until(post('/v1/embeddings', { model: 'tiny', input: ['a', 'b', 'a'], dimensions: 8 }));
    const { data, usage } = (await answer.json()) as { data: { embedding: number[] }[]; usage: object };
    expect(data.map(({ embedding }) => embedding.length)).toEqual([8, 8, 8]);
    expect(data[0]!.embedding).toEqual(data[2]!.embedding);
    expect(data[0]!.embedding).not.toEqual(data[1]!.embedding);
    expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 0 });
  });

  it('gives each of n choices its own text and counts the prompt once', async () => {
    const { until, post } = await serve();
    const answer = await until(post('/v1/chat/completions', chat({ n: 3, max_tokens: 5, ignore_eos: true })));
    const { choices, usage } = (await answer.json()) as {
      choices: { index: number; message: { content: string } }[];
      usage: object;
    };
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(new Set(choices.map(({ message }) => message.content)).size).toBe(3);
    expect(usage).toMatchObject({ completion_tokens: 15, prompt_tokens: 9 });
  });

  it('counts tokens alike in /tokenize and in usage, and /detokenize takes them back', async () => {
    const { until, post } = await serve();
    const { messages } = chat();
    const tokens = (await (await post('/tokenize', { model: 'tiny', messages })).json()) as {
      count: number;
      tokens: number[];
    };
    const answer = await until(post('/v1/chat/completions', chat({ max_tokens: 1 })));
    expect(await answer.json()).toMatchObject({ usage: { prompt_tokens: tokens.count } });
    const back = await post('/detokenize', { model: 'tiny', tokens: tokens.tokens });
    expect(await back.json()).toEqual({ prompt: '<|user|>\nhello<|end|>\n<|assistant|>\n' });
  });

  it('lets arrive what it has written before its engine dies, however late the machine is', async () => {
    const { clock, post, context } = await serve();
    await post('/_emulator/fault', { kind: 'die', how: 'error', afterTokens: 20 });
    const body = { model: 'tiny', input: 'x', max_output_tokens: 1_500, ignore_eos: true, stream: true };
    const asked = post('/v1/responses', body);
    while (context.open.size === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    // From the headers to the end in one turn of the event loop.
    clock.advance(60_000);
    const answer = await asked;
    let text = '';
    const readAll = async () => {
      for await (const chunk of answer.body!) text += Buffer.from(chunk).toString();
    };
    await expect(readAll()).rejects.toThrow();
    expect(text).toContain('event: response.in_progress');
  });

  it('refuses requests beyond --max-num-queued-reqs and serves again when there is room', async () => {
    const { until, begun, post } = await serve({ maxNumQueuedReqs: 1 });
    const first = await begun(post('/v1/chat/completions', chat({ stream: true, max_tokens: 5 })));
    const refused = await post('/v1/chat/completions', chat());
    expect([refused.status, await refused.json()]).toEqual([
      503,
      { error: expect.objectContaining({ type: 'Service Unavailable' }) },
    ]);
    await until(new Response(first.body).text());
    expect((await until(post('/v1/chat/completions', chat({ max_tokens: 2 })))).status).toBe(200);
  });
});

describe('data-parallel ranks', () => {
  const RANKS = { model: 'qwen3-30b-a3b', dataParallelSize: 2, maxNumSeqs: 8, maxModelLen: 4096 };

  it('are told as by the real server, and found by its adapter', async () => {
    const { url, get, server } = await serve(RANKS);
    const { model } = server.context;
    expect(model).toMatchObject({ tp: 1, gpuCount: 2 });
    const text = await (await fetch(`${url}/metrics`)).text();
    const blocks = 2 * model.numGpuBlocks;
    for (const engine of ['0', '1']) {
      const info = text
        .split('\n')
        .find((line) => line.startsWith('vllm:cache_config_info{') && line.includes(`engine="${engine}"`));
      expect(info).toContain(`kv_cache_size_tokens="${model.kvPoolTokens}"`);
      expect(info).toContain(`num_gpu_blocks="${blocks}"`);
    }
    expect(text.match(/^# TYPE vllm:num_requests_running /gm)).toHaveLength(1);
    expect(await get('/get_world_size')).toEqual({ world_size: 2 });
    expect(await get('/get_world_size?include_dp=false')).toEqual({ world_size: 1 });
    const client = new VllmClient({ url });
    const found = await discoverEngine(client);
    await client.close();
    expect(found).toMatchObject({
      ok: true,
      value: {
        ...{ dataParallelRanks: 2, tensorParallelSize: 1, maxNumSeqs: 16 },
        kvPoolTokens: 2 * model.kvPoolTokens,
      },
    });
  });

  it('take requests in turn, and count their own', async () => {
    const { url, until, post } = await serve(RANKS);
    const answers = [1, 2, 3, 4].map(() => post('/v1/chat/completions', chat({ max_tokens: 8, ignore_eos: true })));
    for (const answer of await until(Promise.all(answers))) expect(answer.status).toBe(200);
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const engine of ['0', '1']) {
      for (const series of ['time_to_first_token_seconds_count', 'e2e_request_latency_seconds_count']) {
        expect(text).toContain(`vllm:${series}{engine="${engine}",model_name="tiny"} 2.0`);
      }
      expect(text).toContain(`vllm:generation_tokens_total{engine="${engine}",model_name="tiny"} 16.0`);
    }
  });

  it('run a call on the rank that a header names, but not one of the Responses API', async () => {
    const { url, until } = await serve(RANKS);
    const send = (path: string, body: object, rank: string) =>
      until(
        fetch(url + path, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-data-parallel-rank': rank },
          body: JSON.stringify(body),
        }),
      );
    const tokens = async (rank: number) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(text.match(new RegExp(`^vllm:generation_tokens_total\\{engine="${rank}".* (.*)$`, 'm'))?.[1]);
    };
    const fields = { max_tokens: 8, ignore_eos: true };
    for (const rank of ['1', ' 1', '+1', '01'])
      expect((await send('/v1/chat/completions', chat(fields), rank)).status).toBe(200);
    const prompt = { model: 'tiny', prompt: 'hello', n: 2, ...fields };
    expect((await send('/v1/completions', prompt, '1')).status).toBe(200);
    const message = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], ...fields };
    expect((await send('/v1/messages', message, '1')).status).toBe(200);
    expect([await tokens(0), await tokens(1)]).toEqual([0, 7 * 8]);
    // What is no integer is ignored, and so are all on another route: then the least loaded, of equals in turn.
    expect((await send('/v1/chat/completions', chat(fields), '1.0')).status).toBe(200);
    const response = { model: 'tiny', input: 'hi', max_output_tokens: 8, ignore_eos: true };
    expect((await send('/v1/responses', response, '1')).status).toBe(200);
    expect([await tokens(0), await tokens(1)]).toEqual([8, 8 * 8]);
  });

  it('refuse a rank that there is not, in a stream after its head', async () => {
    const { url, until } = await serve(RANKS);
    const send = async (path: string, body: object, rank = '2') => {
      const headers = { 'content-type': 'application/json', 'x-data-parallel-rank': rank };
      const answer = await until(fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) }));
      return `${answer.status} ${await answer.text()}`;
    };
    const error = {
      message: 'data_parallel_rank 2 is out of range [0, 2).',
      type: 'BadRequestError',
      param: null,
      code: 400,
    };
    expect(await send('/v1/chat/completions', chat({}))).toBe(`400 ${JSON.stringify({ error })}`);
    expect(await send('/v1/chat/completions', chat({}), '-1')).toContain(
      'data_parallel_rank -1 is out of range [0, 2).',
    );
    const spaced = JSON.stringify({ error }).replaceAll('":', '": ').replaceAll(',"', ', "');
    expect(await send('/v1/chat/completions', chat({ stream: true }))).toBe(`200 data: ${spaced}\n\ndata: [DONE]\n\n`);
    const message = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], max_tokens: 3 };
    const refusal = { type: 'error', error: { type: 'BadRequestError', message: error.message } };
    expect(await send('/v1/messages', message)).toBe(`400 ${JSON.stringify(refusal)}`);
    expect(await send('/v1/messages', { ...message, stream: true })).toMatch(
      /^200 event: error\ndata: \{"type":"error","error":\{"type":"internal_error","message":"2 validation errors .*"\}\}\n\n$/,
    );
  });

  it('cannot be had with KV events or on GPUs that they do not divide', () => {
    const resolve = (more: Partial<EmulatorOptions>) => () => resolveModel({ ...RANKS, gpu: 'h100-sxm', ...more });
    const kvEvents = kvEventsConfig({ enable_kv_cache_events: true, publisher: 'zmq', endpoint: 'tcp://*:0' });
    expect(resolve({ kvEvents: kvEvents! })).toThrow('leave out --kv-events-config');
    expect(resolve({ gpuIndices: [0, 1, 2] })).toThrow('3 GPUs are not --tp for each of 2 data-parallel ranks');
    expect(resolve({ gpuIndices: [0, 1, 2, 3] })()).toMatchObject({ tp: 2, gpuCount: 4 });
  });
});
