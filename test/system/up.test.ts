/** `maestro up --vllm URL` as a process of its own, in front of a server that is away at the start, comes, goes and comes back. */
import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { request } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { MAESTRO, ROOT } from './built.js';

const children: ChildProcess[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const server of servers.splice(0)) await close(server);
});

/** The least that a vLLM server answers. */
async function startEngine(port: number, apiKey?: string | (() => string), chatMs = 0): Promise<Server> {
  const bodies: Readonly<Record<string, string>> = {
    'GET /health': '',
    'GET /version': '{"version":"0.29.0"}',
    'GET /v1/models':
      '{"object":"list","data":[{"id":"m","object":"model","root":"m","parent":null,"max_model_len":4096}]}',
    'POST /v1/chat/completions':
      '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}}',
  };
  const server = createServer((incoming, response) => {
    const key = typeof apiKey === 'function' ? apiKey() : apiKey;
    if (key && incoming.url?.startsWith('/v1') && incoming.headers.authorization !== `Bearer ${key}`) {
      response.writeHead(401).end('{"error":"Unauthorized"}');
      return;
    }
    const body = bodies[`${incoming.method} ${incoming.url}`];
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    const end = () => response.end(body ?? '{"detail":"Not Found"}');
    if (chatMs > 0 && incoming.method === 'POST') setTimeout(end, chatMs);
    else end();
  });
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}

async function startUp(...args: string[]): Promise<string> {
  return listens(startMaestro([], args));
}

function startMaestro(nodeArgs: readonly string[], args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [...nodeArgs, MAESTRO, 'up', '--port', '0', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ENGINE_KEY: 'engine-key' },
  });
  children.push(child);
  return child;
}

async function listens(child: ChildProcess): Promise<string> {
  let printed = '';
  let complaint = '';
  child.stderr!.on('data', (chunk) => {
    complaint += String(chunk);
  });
  for await (const [chunk] of on(child.stdout!, 'data', { close: ['end'] })) {
    printed += String(chunk);
    const address = /serves at (http:\/\/\S+)/.exec(printed)?.[1];
    if (address) return address;
  }
  throw new Error(`maestro up ended: ${printed}${complaint}`);
}

const readiness = async (address: string) => {
  const answer = await request(`${address}/readyz`);
  await answer.body.dump();
  return answer.statusCode;
};

/** Waits until `/readyz` answers `status`; the test's own time limit ends it otherwise. */
async function readyzAnswers(address: string, status: number): Promise<void> {
  while ((await readiness(address)) !== status) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function chat(address: string) {
  const answer = await request(`${address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] }),
  });
  return { status: answer.statusCode, date: String(answer.headers['date']), text: await answer.body.text() };
}

describe('maestro up --host', () => {
  it.each([[[]], [['--vllm', 'http://127.0.0.1:1']]])(
    'lets no other machine in without a key, unless it is told to: %j',
    async (args) => {
      await expect(startUp('--host', '0.0.0.0', ...args)).rejects.toThrow(/gateway\.keys.*--insecure/);
      expect(await startUp('--host', '0.0.0.0', '--insecure', ...args)).toContain('http://');
    },
  );
});

it('an end that fails says why', async () => {
  const module = join(ROOT, 'dist/src/cli/server-process.js');
  const code = `import(${JSON.stringify(module)}).then(({ stopOnSignal }) => {
    stopOnSignal(() => Promise.reject(new Error('no way out')), () => {}, () => {});
    setInterval(() => {}, 1000);
    console.log('ready');
  });`;
  const child = spawn(process.execPath, ['--eval', code], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  await once(child.stdout!, 'data');
  child.kill('SIGTERM');
  const [said, [exitCode]] = await Promise.all([text(child.stderr!), once(child, 'exit')]);
  expect([exitCode, said]).toEqual([1, expect.stringContaining('error: no way out')]);
});

describe('maestro up --fleet', () => {
  /** A fleet of one node, whose gateway has no key. */
  const withoutKey = (node: string): string => {
    const file = join(mkdtempSync(join(tmpdir(), 'maestro-up-')), 'fleet.yaml');
    const gateway = 'gateway: { keys: [{ keyEnv: NO_SUCH_VARIABLE, tenant: t }] }';
    writeFileSync(file, `fleet:\n  nodes:\n    - { id: n, gpus: [h100-sxm], ${node} }\n${gateway}\n`);
    return file;
  };

  it('ends when a key is in no variable, whatever it has begun', async () => {
    const engines = `engines: [{ id: e, model: llama-3.1-8b, gpus: [0], url: 'http://127.0.0.1:1' }]`;
    const file = withoutKey(`telemetry: 'http://127.0.0.1:1/metrics', ${engines}`);
    await expect(startUp('--fleet', file)).rejects.toThrow('NO_SUCH_VARIABLE');
  });

  it('says what the file was most likely not meant to say', async () => {
    const engine = 'model: qwen3-8b, gpus: [0], kvMemory: 30GiB, startAsleep: true';
    const file = withoutKey(`hostMemory: 512GiB, engines: [{ id: a, ${engine}, pinned: true }, { id: b, ${engine} }]`);
    await expect(startUp('--fleet', file)).rejects.toThrow(/warning: .*b may never be awake.*NO_SUCH_VARIABLE/s);
  });
});

describe('maestro up --vllm', () => {
  it('serves while an engine hangs', async () => {
    let given = 0;
    const hung = createServer((request) => {
      request.once('close', () => given++);
    });
    servers.push(hung);
    await once(hung.listen(0, '127.0.0.1'), 'listening');
    const urls = [hung, await startEngine(0)].map((server) => (server.address() as AddressInfo).port);
    const address = await startUp('--vllm', urls.map((port) => `http://127.0.0.1:${port}`).join(','));
    // Its first probe has not even been given up.
    expect(given).toBe(0);
    expect((await chat(address)).status).toBe(200);
  });

  it('does not front itself', async () => {
    const { port } = (await startEngine(0)).address() as AddressInfo;
    await expect(startUp('--vllm', `http://localhost:${port}`, '--port', String(port))).rejects.toThrow(
      'Maestro itself is to listen on 127.0.0.1',
    );
  });

  it('goes on serving when nobody reads what it prints', async () => {
    const engine = await startEngine(0);
    const { port } = engine.address() as AddressInfo;
    const address = await startUp('--vllm', `http://127.0.0.1:${port}`);
    children[0]!.stdout!.destroy();
    await readyzAnswers(address, 200);
    expect((await chat(address)).status).toBe(200);
  });

  it('serves a server that asks for an API key with the key that --api-key-env names', async () => {
    const engine = await startEngine(0, 'engine-key');
    const { port } = engine.address() as AddressInfo;
    const address = await startUp('--vllm', `http://127.0.0.1:${port}`, '--api-key-env', 'ENGINE_KEY');
    await readyzAnswers(address, 200);
    expect((await chat(address)).status).toBe(200);
  });

  it('takes a new API key of a server from its file when it is told to read its own', async () => {
    let key = 'the-first-key';
    const engine = await startEngine(0, () => key);
    const { port } = engine.address() as AddressInfo;
    const folder = mkdtempSync(join(tmpdir(), 'maestro-key-'));
    const [keyFile, file] = [join(folder, 'engine.key'), join(folder, 'fleet.yaml')];
    writeFileSync(keyFile, key);
    const served = { id: 'e', model: 'm', url: `http://127.0.0.1:${port}`, apiKeyFile: keyFile };
    writeFileSync(file, JSON.stringify({ fleet: { nodes: [{ id: 'n', engines: [served] }] } }));
    const child = startMaestro([], ['--fleet', file]);
    const address = await listens(child);
    await readyzAnswers(address, 200);
    expect((await chat(address)).status).toBe(200);
    key = 'the-second-key';
    expect((await chat(address)).status).toBe(502);
    writeFileSync(keyFile, key);
    child.kill('SIGHUP');
    while ((await chat(address)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
  });

  it('serves a server that is away at the start, and again when it comes back', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    await close(probe);

    const address = await startUp('--vllm', `http://127.0.0.1:${port}`);
    expect(await readiness(address)).toBe(503);
    expect((await chat(address)).status).toBe(503);

    const engine = await startEngine(port);
    await readyzAnswers(address, 200);
    expect(await chat(address)).toMatchObject({ status: 200, text: expect.stringContaining('"hi"') });

    await close(engine);
    await readyzAnswers(address, 503);
    await startEngine(port);
    await readyzAnswers(address, 200);
    expect((await chat(address)).status).toBe(200);
  });

  it('keeps its limits, waits and connections while the clock of the host jumps by two hours, to and fro', async () => {
    const jumping = `const { now } = Date; let by = 0; setInterval(() => { by = by ? 0 : 7_200_000; }, 20).unref(); Date.now = () => now() + by;
      globalThis.Date = class extends Date { constructor(...given) { super(...(given.length > 0 ? given : [Date.now()])); } };`;
    const engine = await startEngine(0, undefined, 200);
    const { port } = engine.address() as AddressInfo;
    const preload = ['--import', `data:text/javascript,${encodeURIComponent(jumping)}`];
    const child = startMaestro(preload, ['--vllm', `http://127.0.0.1:${port}`]);
    let said = '';
    child.stderr!.on('data', (chunk) => {
      said += String(chunk);
    });
    const address = await listens(child);
    await readyzAnswers(address, 200);
    const hours = new Set<string>();
    // Until it has been seen to jump, and for some jumps more.
    for (let turn = 0; turn < 5 || hours.size < 2; turn++) {
      const answers = await Promise.all(Array.from({ length: 4 }, () => chat(address)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      for (const { date } of answers) hours.add(date.slice(0, -'MM:SS GMT'.length));
    }
    expect(said).not.toContain('engine is down');
  });
});
