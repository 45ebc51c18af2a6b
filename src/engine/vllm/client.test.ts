import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { errorMessage, failureKind, VllmClient } from './client.js';
import { statusOf } from './data-path-fixture.js';
import { discoverEngine, discoveredLimits, unknownEngineSpec } from './discover.js';
import { FakeVllm, type FakeVllmOptions } from './fake-vllm-fixture.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function connect(options: FakeVllmOptions = {}, apiKey?: string) {
  const fake = new FakeVllm(options);
  const client = new VllmClient({ url: await fake.start(), apiKey });
  closers.push(
    () => client.close(),
    () => fake.stop(),
  );
  return { fake, client };
}

describe.each(['0.29', '0.32'] as const)('VllmClient against %s', (dialect) => {
  it('reads health, version, models, metrics, tokens', async () => {
    const { client, fake } = await connect({ dialect, models: ['tiny', 'alias'] });
    fake.adapters = ['adapter'];
    expect(await client.health()).toEqual({ ok: true, value: undefined });
    expect(await client.version()).toEqual({ ok: true, value: `${dialect}.0` });
    expect(await client.models()).toMatchObject({
      ok: true,
      value: [
        { id: 'tiny', parent: undefined, maxModelLen: 2048 },
        { id: 'alias', parent: undefined },
        { id: 'adapter', parent: 'tiny', maxModelLen: undefined },
      ],
    });
    const metrics = await client.metrics();
    expect(metrics.ok && metrics.value).toContain('vllm:num_requests_running');
  });

  it('sleeps, wakes in parts, aborts and resets with query parameters and bodies where vLLM wants them', async () => {
    const { client, fake } = await connect({ dialect });
    expect(await client.sleep(2, 'wait', 1000)).toEqual({ ok: true, value: undefined });
    expect(await client.isSleeping()).toEqual({ ok: true, value: true });
    expect((await client.wakeUp(['weights'], 1000)).ok).toBe(true);
    expect(await client.isSleeping()).toEqual({ ok: true, value: true });
    expect((await client.reloadWeights(1000)).ok).toBe(true);
    expect((await client.wakeUp(['kv_cache'], 1000)).ok).toBe(true);
    expect(await client.isSleeping()).toEqual({ ok: true, value: false });
    expect(await client.resetPrefixCache()).toEqual({ ok: true, value: true });
    expect((await client.abort(['chatcmpl-1'])).ok).toBe(true);
    // An empty list would abort everything.
    expect((await client.abort([])).ok).toBe(true);
    expect(await client.canary({ model: 'tiny', maxTokens: 3, timeoutMs: 1000 })).toMatchObject({ ok: true });
    expect(fake.requests.filter((line) => line.startsWith('POST') && !line.includes('completions'))).toEqual([
      'POST /sleep?level=2&mode=wait',
      'POST /wake_up?tags=weights',
      'POST /collective_rpc {"method":"reload_weights"}',
      'POST /wake_up?tags=kv_cache',
      'POST /reset_prefix_cache',
      'POST /abort_requests {"request_ids":["chatcmpl-1"]}',
    ]);
  });
});

describe('VllmClient failures', () => {
  it('tells a refused connection, a silent server, a broken connection, an error status and a wrong answer apart', async () => {
    const { client, fake } = await connect();
    fake.faults.set('/health', 'hang').set('/sleep', 500).set('/version', 200);
    expect(await client.health(30)).toMatchObject({ ok: false, failure: { kind: 'timeout' } });
    expect(await client.sleep(1, 'wait', 1000)).toMatchObject({ ok: false, failure: { kind: 'http', status: 500 } });
    expect(await client.version()).toMatchObject({ ok: false, failure: { kind: 'protocol' } });
    await fake.stop();
    // A connection that was kept alive breaks first; the next attempt is refused.
    await vi.waitFor(async () => expect(await client.health()).toMatchObject({ failure: { kind: 'refused' } }), SOON);

    const rude = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve));
    const { port } = rude.address() as { port: number };
    const rudeClient = new VllmClient({ url: `http://127.0.0.1:${port}` });
    closers.push(
      () => rudeClient.close(),
      () => new Promise((resolve) => rude.close(() => resolve())),
    );
    expect(await rudeClient.health()).toMatchObject({ ok: false, failure: { kind: 'reset' } });
  });

  const bodies: [string, string, string][] = [
    ['the OpenAI envelope', '{"error":{"message":"no room","type":"InternalServerError"}}', 'no room'],
    ['detail', '{"detail":"Not Found"}', 'Not Found'],
    ['a bare string', '{"error":"Failed to pause"}', 'Failed to pause'],
    ['no JSON', '<html>', '<html>'],
    ['nothing', '', ''],
  ];
  it.each(bodies)('reads the message of %s', (_name, body, message) => {
    expect(errorMessage(body)).toBe(message);
  });

  it.each([
    [{ code: 'ECONNREFUSED' }, 'refused'],
    [{ code: 'UND_ERR_CONNECT_TIMEOUT' }, 'timeout'],
    [{ name: 'TimeoutError' }, 'timeout'],
    [{ code: 'ENOTFOUND' }, 'unreachable'],
    [{ code: 'ECONNRESET' }, 'reset'],
    [{ code: 'UND_ERR_SOCKET' }, 'reset'],
    [{ code: 'HPE_INVALID_CONSTANT' }, 'protocol'],
  ])('classifies %o as %s', (thrown, kind) => {
    expect(failureKind(thrown)).toBe(kind);
  });

  it('drops a connection that was idle for less than the 5 s after which vLLM does', async () => {
    const patient = createHttpServer((_request, response) => response.end());
    patient.keepAliveTimeout = 0;
    await new Promise<void>((resolve) => patient.listen(0, '127.0.0.1', resolve));
    const { port } = patient.address() as { port: number };
    const clock = new ManualClock();
    const client = new VllmClient({ url: `http://127.0.0.1:${port}`, clock });
    closers.push(
      () => client.close(),
      () => new Promise((resolve) => patient.close(() => resolve())),
    );
    expect(await statusOf(client.dataPath, '/health')).toBe(200);
    expect(client.dataPath.size).toBe(1);
    clock.advance(4_000);
    await vi.waitFor(() => expect(client.dataPath.size).toBe(0), SOON);
  });

  it('carries the API key on control calls and on the data path', async () => {
    const { client, fake } = await connect({ apiKey: 'k1' }, 'k1');
    expect((await client.models()).ok).toBe(true);
    expect(await statusOf(client.dataPath, '/v1/models')).toBe(200);
    expect(fake.headers.every(({ authorization }) => authorization === 'Bearer k1')).toBe(true);
    const { client: keyless } = await connect({ apiKey: 'k1' });
    expect(await keyless.models()).toMatchObject({
      failure: { status: 401, message: 'GET /v1/models: 401 Unauthorized' },
    });
  });
});

describe('discoverEngine', () => {
  it('reads everything a development server tells', async () => {
    const { client, fake } = await connect({ models: ['tiny', 'alias'] });
    fake.level = 1;
    const found = await discoverEngine(client);
    expect(found).toMatchObject({
      ok: true,
      value: {
        modelNames: ['tiny', 'alias'],
        llm: { name: 'llama-3.1-8b' },
        version: '0.29.0',
        maxModelLen: 2048,
        kvPoolTokens: 4096,
        maxNumSeqs: 4,
        tensorParallelSize: 1,
        schedulingPolicy: 'priority',
        devMode: true,
        sleepMode: true,
        reloadsWeights: true,
        level: 1,
      },
    });
  });

  it('leaves unknown what a plain server does not tell, and serves it as always awake', async () => {
    const { client } = await connect({ devMode: false });
    const found = await discoverEngine(client);
    expect(found).toMatchObject({
      ok: true,
      value: { devMode: false, sleepMode: undefined, maxNumSeqs: undefined, schedulingPolicy: undefined, level: 0 },
    });
    if (!found.ok) return;
    const spec = unknownEngineSpec('e1', 'n1', 'http://x');
    const limits = discoveredLimits(found.value, spec);
    expect(limits).toMatchObject({ model: 'tiny', kvPoolTokens: 4096, maxModelLen: 2048, sleepCapable: false });
    expect('maxNumSeqs' in limits).toBe(false);
  });

  it('counts seats and pools of all data-parallel ranks', async () => {
    const { client, fake } = await connect();
    fake.page = ['0', '1']
      .map(
        (rank) =>
          `vllm:cache_config_info{engine="${rank}",block_size="16",num_gpu_blocks="512",kv_cache_size_tokens="4096"} 1.0`,
      )
      .join('\n');
    const found = await discoverEngine(client);
    expect(found).toMatchObject({ ok: true, value: { dataParallelRanks: 2, kvPoolTokens: 8192, maxNumSeqs: 8 } });
  });

  it('chooses ranks where the server has as many as the configuration says, or where nothing else is known of it', async () => {
    const { client } = await connect();
    const found = await discoverEngine(client);
    if (!found.ok) throw new Error(found.failure.message);
    const ranks = (dataParallelRanks: number, spec: object = {}) =>
      discoveredLimits({ ...found.value, dataParallelRanks }, { ...unknownEngineSpec('e1', 'n1', 'u'), ...spec });
    const configured = { model: 'tiny', dataParallel: 2 };
    expect(ranks(2, { ...configured, chosenRanks: 2 }).chosenRanks).toBe(2);
    for (const others of [1, 4]) expect(ranks(others, { ...configured, chosenRanks: 2 }).chosenRanks).toBe(1);
    expect('chosenRanks' in ranks(2, configured)).toBe(false);
    for (const found of [4, 1]) expect(ranks(found).chosenRanks).toBe(found);
  });

  it('takes the KV bytes of a token from the architecture that it recognises', async () => {
    const { client } = await connect();
    const found = await discoverEngine(client);
    if (!found.ok) throw new Error(found.failure.message);
    const bytes = (told: object, spec: object = {}) =>
      discoveredLimits({ ...found.value, ...told }, { ...unknownEngineSpec('e1', 'n1', 'u'), ...spec }).kvBytesPerToken;
    expect(bytes({})).toBe(131_072);
    expect(bytes({ kvDtype: 'fp8' })).toBe(65_536);
    expect(bytes({ tensorParallelSize: 2 })).toBe(131_072);
    expect(bytes({ tensorParallelSize: 2 }, { gpuIndices: [0, 1] })).toBe(65_536);
    // A token of one rank lies on its GPU alone, in full.
    expect(bytes({ dataParallelRanks: 2 }, { gpuIndices: [0, 1] })).toBe(65_536);
    expect(bytes({ dataParallelRanks: 2, tensorParallelSize: 2 }, { gpuIndices: [0, 1, 2, 3] })).toBe(32_768);
    expect(bytes({ llm: undefined })).toBeUndefined();
  });

  it('keeps a configured model name that the server knows, and sleeps only where that was wanted and is possible', async () => {
    const { client } = await connect({ models: ['tiny', 'alias'] });
    const found = await discoverEngine(client);
    if (!found.ok) throw new Error(found.failure.message);
    const configured = { ...unknownEngineSpec('e1', 'n1', 'http://x'), model: 'alias' };
    expect(discoveredLimits(found.value, configured)).toMatchObject({ model: 'alias', sleepCapable: false });
    expect(discoveredLimits(found.value, { ...configured, sleepCapable: true })).toMatchObject({ sleepCapable: true });
    expect(discoveredLimits(found.value, unknownEngineSpec('e1', 'n1', 'u'))).toMatchObject({ sleepCapable: true });
  });

  it('knows of a loader that it cannot read weights again', async () => {
    const { client, fake } = await connect();
    fake.loadFormat = 'runai_streamer';
    const found = await discoverEngine(client);
    if (!found.ok) throw new Error(found.failure.message);
    const spec = unknownEngineSpec('e1', 'n1', 'u');
    expect(discoveredLimits(found.value, spec)).toMatchObject({ sleepCapable: true, reloadsWeights: false });
    expect('reloadsWeights' in discoveredLimits({ ...found.value, reloadsWeights: undefined }, spec)).toBe(false);
  });

  it('takes an engine whose sleep state is not clear for not found yet', async () => {
    const { client, fake } = await connect();
    fake.faults.set('/is_sleeping', 500);
    expect(await discoverEngine(client)).toMatchObject({ ok: false, failure: { status: 500 } });
  });
});
