/** The key between Maestro and an engine that it starts: where it goes, and where it never stands. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'undici';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EMULATED_VLLM, MAESTRO, ROOT } from './built.js';

const KEY = 'sk-canary-of-the-engine';
const CLIENT_KEY = 'sk-canary-of-the-client';

let folder: string;
let agent: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-key-'));
});

afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

async function stop(): Promise<void> {
  const stopped = agent;
  agent = undefined;
  if (!stopped || stopped.exitCode !== null) return;
  const gone = once(stopped, 'exit');
  stopped.kill('SIGTERM');
  await gone;
}

const read = (...path: string[]) => readFileSync(join(folder, ...path), 'utf8');

it('the engine asks for it, and it stands in no log, answer, record or command line', async () => {
  const socketPath = join(folder, 'e.sock');
  writeFileSync(join(folder, 'key'), `${KEY}\n`, { mode: 0o600 });
  const engine = {
    ...{ id: 'e', model: 'llama-3.1-8b', gpus: [0], kvMemory: '8GiB', url: `unix:${socketPath}` },
    apiKeyFile: join(folder, 'key'),
    launch: {
      program: EMULATED_VLLM,
      weights: 'llama-3.1-8b',
    },
  };
  const config = {
    observe: { logLevel: 'trace', decisionLog: join(folder, 'decisions.jsonl') },
    gateway: { keys: [{ keyEnv: 'CLIENT_KEY', tenant: 't' }] },
    fleet: {
      stateDir: join(folder, 'state'),
      nodes: [{ id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB', engines: [engine] }],
    },
  };
  writeFileSync(join(folder, 'fleet.json'), JSON.stringify(config));
  const log = openSync(join(folder, 'agent.log'), 'a');
  agent = spawn(process.execPath, [MAESTRO, 'up', '--port', '0', '--fleet', join(folder, 'fleet.json')], {
    cwd: ROOT,
    stdio: ['ignore', log, log],
    env: { ...process.env, CLIENT_KEY },
  });
  const headers = { authorization: `Bearer ${CLIENT_KEY}`, 'content-type': 'application/json', 'x-request-id': 'r1' };
  await until(() => /serves at http/.test(read('agent.log')));
  const address = /serves at (\S+)/.exec(read('agent.log'))![1]!;
  await until(async () => (await fetch(`${address}/readyz`)).status === 200);

  const body = JSON.stringify({ model: 'llama-3.1-8b', max_tokens: 2, messages: [{ role: 'user', content: 'hi' }] });
  const answer = await fetch(`${address}/v1/chat/completions`, { method: 'POST', headers, body });
  expect(answer.status).toBe(200);
  const said = [await answer.text(), JSON.stringify([...answer.headers])];
  for (const path of [
    '/metrics',
    '/v1/models',
    '/v1/maestro/fleet',
    '/v1/maestro/identity',
    '/v1/maestro/requests/r1',
  ]) {
    const told = await fetch(address + path, { headers });
    expect([path, told.status]).toEqual([path, 200]);
    said.push(await told.text());
  }
  const client = new Client('http://localhost', { connect: { socketPath } });
  const direct = await client.request({ path: '/v1/models', method: 'GET' });
  said.push(await direct.body.text());
  await client.close();
  expect(direct.statusCode).toBe(401);

  const record = read('state', 'run', 'e.json');
  const { pid } = JSON.parse(record) as { pid: number };
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
  expect(environment.split('\0')).toContain(`VLLM_API_KEY=${KEY}`);
  expect(environment).not.toContain(CLIENT_KEY);
  said.push(record, readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  await stop();
  expect(read('agent.log')).toContain('request ended');
  said.push(read('agent.log'), read('decisions.jsonl'));
  for (const name of readdirSync(join(folder, 'state', 'logs'))) said.push(read('state', 'logs', name));
  expect(said.filter((text) => text.includes('sk-canary'))).toEqual([]);
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
