/** A model that a running `maestro up` trains on its own calls, in a process of its own in front of a server whose answers follow a rule. */
import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { MAESTRO } from './built.js';

const CALLS_AT_ONCE = 16;
const MODEL = 'llama-3.1-8b';
const agent = new Agent({ connections: CALLS_AT_ONCE });
let child: ChildProcess | undefined;
let server: Server | undefined;
let folder = '';

afterEach(async () => {
  child?.kill('SIGKILL');
  server?.close();
  server?.closeAllConnections();
  await rm(folder, { recursive: true, force: true });
});

/** Long prompts get long answers, short ones short answers: what a median of the role cannot tell. */
const lengths = { short: 40, long: 600 };

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of incoming) body += String(chunk);
  return body;
}

async function startEngine(): Promise<string> {
  server = createServer(async (incoming, response) => {
    const body = await bodyOf(incoming);
    const isKnown = ['/health', '/version', '/v1/models', '/v1/chat/completions'].includes(incoming.url ?? '');
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' });
    if (incoming.url === '/v1/models') {
      const model = { id: MODEL, object: 'model', root: MODEL, parent: null, max_model_len: 32_768 };
      response.end(JSON.stringify({ object: 'list', data: [model] }));
    } else if (incoming.url === '/v1/chat/completions') {
      const isLong = body.length > 2000;
      const prompt_tokens = isLong ? 1500 : 20;
      const completion_tokens = isLong ? lengths.long : lengths.short;
      const message = { role: 'assistant', content: 'hi' };
      response.end(
        JSON.stringify({
          ...{ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: MODEL },
          choices: [{ index: 0, message, finish_reason: 'stop' }],
          usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
        }),
      );
    } else response.end(incoming.url === '/version' ? '{"version":"0.29.0"}' : '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Starts `maestro up`; answers its address, and all that it has logged so far. */
async function startUp(settings: string): Promise<{ address: string; logged: () => string }> {
  const args = ['up', '--port', '0', '--fleet', settings];
  child = spawn(process.execPath, [MAESTRO, ...args], { stdio: 'pipe' });
  let logged = '';
  child.stderr!.on('data', (chunk) => {
    logged += String(chunk);
  });
  for await (const [chunk] of on(child.stdout!, 'data', { close: ['end'] })) {
    logged += String(chunk);
    const address = /serves at (http:\/\/\S+)/.exec(logged)?.[1];
    if (address) {
      child.stdout!.on('data', (more) => {
        logged += String(more);
      });
      return { address, logged: () => logged };
    }
  }
  throw new Error(`maestro up ended: ${logged}`);
}

let sent = 0;
async function call(address: string): Promise<void> {
  const content = sent++ % 2 === 0 ? 'x' : 'word '.repeat(1000);
  const answer = await request(`${address}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json', 'x-maestro-workflow': `w${sent >> 2}` },
    body: JSON.stringify({ model: MODEL, messages: [{ role: 'user', content }] }),
  });
  expect([answer.statusCode, await answer.body.text()]).toEqual([200, expect.any(String)]);
}

async function callsAtOnce(address: string): Promise<void> {
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => call(address)));
}

/** Sends calls until the log tells what is looked for. */
async function callUntil(address: string, logged: () => string, text: RegExp, atMost: number): Promise<void> {
  for (let calls = 0; calls < atMost && !text.test(logged()); calls += CALLS_AT_ONCE) {
    await callsAtOnce(address);
  }
  expect(logged()).toMatch(text);
}

describe('maestro up with prediction.retrainEvery', () => {
  it('trains on its calls, promotes the model that proves better, and trains again when the calls change', async () => {
    folder = await mkdtemp(join(tmpdir(), 'maestro-retraining-'));
    const stateFile = join(folder, 'state.json');
    const settings = join(folder, 'settings.yaml');
    const engine = { id: 'e', model: MODEL, gpus: [0], url: await startEngine() };
    const node = {
      id: 'n',
      gpus: { type: 'h100-sxm', count: 1 },
      hostMemory: '64GiB',
      telemetry: 'none',
      engines: [engine],
    };
    const config = { fleet: { nodes: [node] }, prediction: { retrainEvery: 600, stateFile } };
    await writeFile(settings, JSON.stringify(config));
    const { address, logged } = await startUp(settings);
    const ready = async () => {
      const { statusCode, body } = await request(`${address}/readyz`);
      await body.dump();
      return statusCode;
    };
    await expect.poll(ready, { timeout: 30_000 }).toBe(200);
    await callUntil(address, logged, /competes with the one that serves/, 4000);
    await callUntil(address, logged, /serves from now on/, 2000);
    await expect.poll(() => existsSync(`${stateFile}.model.onnx`)).toBe(true);
    [lengths.short, lengths.long] = [lengths.long, lengths.short];
    await callUntil(address, logged, /err more than they used to/, 2000);
    const COMPETES = 'competes with the one that serves';
    const trainings = () => logged().split(COMPETES).length - 1;
    // The promoted model has its probation first, of 500 calls; then the next one is trained, long before 600 calls more.
    await callUntil(address, logged, /has proved itself|the one before serves again/, 1000);
    for (let round = 0; round < 3; round++) await callsAtOnce(address);
    await expect.poll(trainings, { timeout: 60_000 }).toBe(2);
  }, 300_000);
});
