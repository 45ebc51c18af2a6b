import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import OpenAI from 'openai';
import { request } from 'undici';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MAESTRO } from './built.js';

interface Emulator {
  readonly url: string;
  readonly child: ChildProcess;
  readonly gone: Promise<number | null>;
}

const started: ChildProcess[] = [];

async function emulate(...flags: string[]): Promise<Emulator> {
  const basics = [
    '--model',
    'llama-3.1-8b',
    '--served-model-name',
    'tiny',
    '--gpu',
    'h100-sxm',
    '--port',
    '0',
    '--dev-mode',
  ];
  const child = spawn(process.execPath, [MAESTRO, 'emulate', ...basics, ...flags], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  started.push(child);
  const gone = once(child, 'exit').then(([code]) => code as number | null);
  const listening = once(child, 'message').then(([message]) => (message as { url: string }).url);
  const url = await Promise.race([
    listening,
    gone.then((code) => {
      throw new Error(`the emulator ended with code ${code}`);
    }),
  ]);
  return { url, child, gone };
}

afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
});

function post(url: string, body: object, more: { headers?: Record<string, string>; signal?: AbortSignal } = {}) {
  return request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...more.headers },
    body: JSON.stringify(body),
    ...(more.signal ? { signal: more.signal } : {}),
  });
}

const chat = (more: object = {}) => ({ model: 'tiny', messages: [{ role: 'user', content: 'hello there' }], ...more });

interface LedgerAnswer {
  readonly totals: Record<string, number>;
  readonly open: number;
  readonly requests: { id: string; state: string; startedMs: number | null; tokens: number; finishReasons: string[] }[];
}

async function ledger(url: string): Promise<LedgerAnswer> {
  return (await request(`${url}/_emulator/ledger`)).body.json() as Promise<LedgerAnswer>;
}

/** Asks until the ledger shows it; the test's own timeout bounds it. */
async function ledgerShows(url: string, holds: (answer: LedgerAnswer) => boolean): Promise<LedgerAnswer> {
  for (;;) {
    const answer = await ledger(url);
    if (holds(answer)) return answer;
  }
}

function framesOf(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: {'))
    .map((frame) => JSON.parse(frame.slice(6)) as unknown);
}

interface Chunk {
  readonly choices: { readonly delta: { readonly content?: string }; readonly finish_reason: string | null }[];
  readonly usage?: { readonly completion_tokens: number };
}

describe('a running emulator', () => {
  it('streams the same text that it answers at once, with real headers and usage', async () => {
    const { url } = await emulate('--time-scale', '50', '--enable-request-id-headers');
    const stated = { vllm_xargs: { maestro_output_tokens: 80 } };
    const whole = await post(`${url}/v1/chat/completions`, chat(stated));
    const { choices } = (await whole.body.json()) as { choices: { message: { content: string } }[] };
    const streamed = await post(
      `${url}/v1/chat/completions`,
      chat({ ...stated, stream: true, stream_options: { include_usage: true } }),
      { headers: { 'x-request-id': 'mine' } },
    );
    expect(streamed.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      server: 'uvicorn',
      vary: 'Origin',
      'transfer-encoding': 'chunked',
      'x-request-id': 'mine',
    });
    const text = await streamed.body.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    const chunks = framesOf(text) as Chunk[];
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe(choices[0]!.message.content);
    expect(chunks.at(-1)!.usage).toMatchObject({ completion_tokens: 80 });
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('stop');
    // Time runs 50 times faster, so tokens that fell due together share frames.
    expect(chunks.length).toBeLessThan(60);
    expect(await ledger(url)).toMatchObject({ open: 0, totals: { accepted: 2, finished: 2, tokens: 160 } });
  });

  it('gives every token its frame at real time', async () => {
    const { url } = await emulate();
    const answer = await post(`${url}/v1/completions`, { prompt: 'a', max_tokens: 30, ignore_eos: true, stream: true });
    expect(framesOf(await answer.body.text())).toHaveLength(30);
  });

  it('serves in order of priority, the header before the body', async () => {
    const { url } = await emulate('--time-scale', '20', '--max-num-seqs', '1', '--scheduling-policy', 'priority');
    const ask = (id: string, priority: number, headers = {}) =>
      post(
        `${url}/v1/completions`,
        { prompt: id, max_tokens: 40, ignore_eos: true, stream: true, priority, request_id: id },
        { headers },
      );
    // Paused, the engine queues what comes; a stream's headers tell that it has come.
    await post(`${url}/pause?mode=keep`, {});
    const answers = [await ask('ten', 10), await ask('ten-again', 10), await ask('five', 5)];
    answers.push(await ask('header', 50, { 'x-vllm-priority': '-9' }));
    await post(`${url}/resume`, {});
    await Promise.all(answers.map((answer) => answer.body.text()));
    const { requests } = await ledger(url);
    const order = requests.toSorted((a, b) => a.startedMs! - b.startedMs!).map(({ id }) => id);
    expect(order).toEqual(['cmpl-header', 'cmpl-five', 'cmpl-ten', 'cmpl-ten-again']);
  });

  it('notices that a client has gone, whatever its request was waiting for', async () => {
    const { url } = await emulate('--max-num-seqs', '1');
    const long = { prompt: 'a', max_tokens: 4000, ignore_eos: true };
    const aborts = [new AbortController(), new AbortController(), new AbortController()];
    const running = await post(`${url}/v1/completions`, { ...long, stream: true }, { signal: aborts[0]!.signal });
    await ledgerShows(url, ({ totals }) => totals['started'] === 1);
    const queued = await post(`${url}/v1/completions`, { ...long, stream: true }, { signal: aborts[1]!.signal });
    const whole = post(`${url}/v1/completions`, long, { signal: aborts[2]!.signal });
    await ledgerShows(url, ({ open }) => open === 3);
    const answers = Promise.allSettled([running.body.text(), queued.body.text(), whole]);
    for (const [index, abort] of aborts.toReversed().entries()) {
      abort.abort();
      await ledgerShows(url, ({ totals }) => totals['disconnected'] === index + 1);
    }
    await answers;
    const { totals, requests } = await ledger(url);
    expect(totals).toMatchObject({ disconnected: 3, finished: 0 });
    expect(requests.map(({ startedMs }) => startedMs !== null)).toEqual([true, false, false]);
    const metrics = await (await request(`${url}/metrics`)).body.text();
    expect(metrics).toMatch(/^vllm:num_requests_running\{.*\} 0\.0$/m);
    expect(metrics).toMatch(/^vllm:num_requests_waiting\{.*\} 0\.0$/m);
  });

  it('aborts by id: running streams end with a finish frame, others with [DONE] alone', async () => {
    const { url } = await emulate('--max-num-seqs', '1');
    const ask = (id: string) =>
      post(`${url}/v1/completions`, { prompt: 'a', max_tokens: 4000, ignore_eos: true, stream: true, request_id: id });
    const running = await ask('r');
    await ledgerShows(url, ({ totals }) => totals['started'] === 1);
    const queued = await ask('q');
    // The response's id is not the engine's: it is counted and nothing happens.
    const wrong = await post(`${url}/abort_requests`, { request_ids: ['cmpl-q'] });
    expect(await wrong.body.json()).toEqual({ status: 'aborted', aborted: 1 });
    expect((await ledger(url)).open).toBe(2);
    await post(`${url}/abort_requests`, { request_ids: ['cmpl-q-0', 'cmpl-r-0'] });
    expect(await queued.body.text()).toBe('data: [DONE]\n\n');
    expect(await running.body.text()).toMatch(/"finish_reason":"abort".*\n\ndata: \[DONE\]\n\n$/);
  });

  it('queues while asleep: streams get their headers at once and their text after the wake', async () => {
    const { url } = await emulate('--time-scale', '100', '--enable-sleep-mode');
    const slept = await request(`${url}/sleep?level=1`, { method: 'POST' });
    expect([slept.statusCode, await slept.body.text()]).toEqual([200, '']);
    const stream = await post(`${url}/v1/chat/completions`, chat({ max_tokens: 4, stream: true }));
    expect(stream.statusCode).toBe(200);
    expect((await request(`${url}/health`)).statusCode).toBe(200);
    expect(await ledger(url)).toMatchObject({ open: 1, totals: { started: 0 } });
    await request(`${url}/wake_up`, { method: 'POST' });
    expect(framesOf(await stream.body.text()).length).toBeGreaterThan(1);
    expect(await (await request(`${url}/is_sleeping`)).body.json()).toEqual({ is_sleeping: false });
  });

  it('works with the openai client', async () => {
    const { url } = await emulate('--time-scale', '50', '--api-key', 'k1', 'k2');
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k2', maxRetries: 0 });
    const messages = [{ role: 'user' as const, content: 'hi' }];
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['tiny']);
    const whole = await client.chat.completions.create({ model: 'tiny', messages, max_tokens: 20 });
    const parts: string[] = [];
    for await (const chunk of await client.chat.completions.create({
      model: 'tiny',
      messages,
      max_tokens: 20,
      stream: true,
    })) {
      parts.push(chunk.choices[0]?.delta.content ?? '');
    }
    expect(parts.join('')).toBe(whole.choices[0]!.message.content);
    await expect(client.chat.completions.create({ model: 'x', messages })).rejects.toMatchObject({ status: 404 });
    const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'no', maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toMatchObject({ status: 401 });
  });
});

describe('the end of an emulator', () => {
  const endless = { prompt: 'a', max_tokens: 8000, ignore_eos: true, stream: true };
  const errorTail = /data: \{"error": \{"message": "EngineCore encountered.*"code": 500\}\}\n\ndata: \[DONE\]\n\n$/;
  let stream: Awaited<ReturnType<typeof post>>;
  let emulator: Emulator;

  async function startStream(): Promise<void> {
    emulator = await emulate();
    stream = await post(`${emulator.url}/v1/completions`, endless);
    await ledgerShows(emulator.url, ({ totals }) => totals['started'] === 1);
  }

  it('on SIGTERM tells its streams and exits with 0', async () => {
    await startStream();
    emulator.child.kill('SIGTERM');
    expect(await stream.body.text()).toMatch(errorTail);
    expect(await emulator.gone).toBe(0);
  });

  it('on SIGKILL breaks its streams', async () => {
    await startStream();
    emulator.child.kill('SIGKILL');
    await expect(stream.body.text()).rejects.toThrow();
    await expect(request(`${emulator.url}/health`)).rejects.toThrow();
  });

  it('comes with its parent, so that no orphan stays', async () => {
    await startStream();
    emulator.child.disconnect();
    await expect(stream.body.text()).rejects.toThrow();
    expect(await emulator.gone).toBe(0);
  });

  it('comes when a fault is ordered, after as many tokens as were asked for', async () => {
    emulator = await emulate();
    await post(`${emulator.url}/_emulator/fault`, { kind: 'die', how: 'error', afterTokens: 40 });
    stream = await post(`${emulator.url}/v1/completions`, endless);
    const text = await stream.body.text();
    expect(text).toMatch(errorTail);
    expect(framesOf(text)).toHaveLength(41);
    expect(await emulator.gone).toBe(0);
  });

  it('is not what a broken stream or a stall means', async () => {
    await startStream();
    const fault = (body: object) => post(`${emulator.url}/_emulator/fault`, body);
    await fault({ kind: 'break', how: 'cut', afterTokens: 5 });
    await expect(stream.body.text()).rejects.toThrow();
    await fault({ kind: 'stall' });
    const silent = await post(`${emulator.url}/v1/completions`, { ...endless, max_tokens: 3 });
    expect((await request(`${emulator.url}/health`)).statusCode).toBe(200);
    expect(await ledger(emulator.url)).toMatchObject({ open: 1, totals: { started: 1, failed: 1 } });
    await fault({ kind: 'clear' });
    expect(framesOf(await silent.body.text())).toHaveLength(3);
    expect((await fault({ kind: 'nonsense' })).statusCode).toBe(400);
  });
});

describe('the command line', () => {
  let output: string;
  beforeAll(async () => {
    const child = spawn(process.execPath, [MAESTRO, 'emulate', '--model', 'no-such', '--gpu', 'h100-sxm'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    output = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    await once(child, 'close');
  });

  it('names the models that it knows', () => {
    expect(output).toMatch(/No model "no-such" in the catalogue\. Known: .*llama-3\.1-8b/);
  });
});
