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

const ROOT = join(import.meta.dirname, '..', '..');
const CALLS_AT_ONCE = 16;
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
    response.writeHead(200, { 'content-type': 'application/json' });
    if (incoming.url === '/v1/models') {
      const model = { id: 'm', object: 'model', root: 'm', parent: null, max_model_len: 32_768 };
      response.end(JSON.stringify({ object: 'list', data: [model] }));
    } else if (incoming.url === '/v1/chat/completions') {
      const isLong = body.length > 2000;
      const prompt_tokens = isLong ? 1500 : 20;
      const completion_tokens = isLong ? lengths.long : lengths.short;
      const message = { role: 'assistant', content: 'hi' };
      response.end(
        JSON.stringify({
          ...{ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'm' },
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
async function startUp(engine: string, settings: string): Promise<{ address: string; logged: () => string }> {
  const args = ['up', '--port', '0', '--vllm', engine, '--fleet', settings];
  child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src/cli/main.ts'), ...args], { stdio: 'pipe' });
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
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
  });
  await answer.body.dump();
  expect(answer.statusCode).toBe(200);
}

/** Sends calls until the log tells `text`. */
async function callUntil(address: string, logged: () => string, text: string, atMost: number): Promise<void> {
  for (let calls = 0; calls < atMost && !logged().includes(text); calls += CALLS_AT_ONCE) {
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => call(address)));
  }
  expect(logged()).toContain(text);
}

describe('maestro up with prediction.retrainEvery', () => {
  it('trains on its calls, promotes the model that proves better, and goes back when the calls turn out otherwise', async () => {
    folder = await mkdtemp(join(tmpdir(), 'maestro-retraining-'));
    const stateFile = join(folder, 'state.json');
    const settings = join(folder, 'settings.yaml');
    await writeFile(settings, `prediction:\n  retrainEvery: 600\n  stateFile: ${stateFile}\n`);
    const { address, logged } = await startUp(await startEngine(), settings);
    await callUntil(address, logged, 'competes with the one that serves', 4000);
    await callUntil(address, logged, 'serves from now on', 2000);
    await expect.poll(() => existsSync(`${stateFile}.model.onnx`)).toBe(true);
    [lengths.short, lengths.long] = [lengths.long, lengths.short];
    await callUntil(address, logged, 'the one before serves again', 2000);
  }, 300_000);
});
