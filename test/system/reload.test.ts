/** SIGHUP: `maestro up` reads its file again, puts what can change into effect, and serves on by the former one where the file is wrong. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from './agent-process.js';
import { MAESTRO, ROOT } from './built.js';

const LIMIT_MS = 60_000;

/** Nobody listens there; what is served does not matter here. */
const ENGINE = { id: 'e', model: 'llama-3.1-8b', gpus: [0], kvMemory: '8GiB', url: 'http://127.0.0.1:9' };
const FLEET = { nodes: [{ id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB', engines: [ENGINE] }] };

let folder = '';
let child: ChildProcess;
let said = '';
let address = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-reload-'));
  write({ gateway: { keys: [{ key: 'the-first-key', tenant: 'a' }] }, fleet: FLEET });
  const file = join(folder, 'fleet.yaml');
  child = spawn(process.execPath, [MAESTRO, 'up', '--fleet', file, '--port', '0'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  }
  await until('it serves', LIMIT_MS, () => said.includes('\nready') || said.includes('\nnot ready'));
  address = /maestro serves at (\S+)/.exec(said)![1]!;
});

afterAll(async () => {
  if (child.exitCode === null) {
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

function write(config: object): void {
  writeFileSync(join(folder, 'fleet.yaml'), JSON.stringify(config));
}

async function reload(config: object, word: string): Promise<void> {
  write(config);
  child.kill('SIGHUP');
  await until(word, LIMIT_MS, () => said.includes(word));
}

async function models(key: string): Promise<{ status: number; names: string[] }> {
  const answer = await request(`${address}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  const { data = [] } = (await answer.body.json()) as { data?: { id: string }[] };
  return { status: answer.statusCode, names: data.map(({ id }) => id) };
}

it('keys and aliases change while it serves, and what waits for a restart is named', async () => {
  expect(await models('the-first-key')).toEqual({ status: 200, names: ['llama-3.1-8b'] });
  await reload(
    {
      gateway: { keys: [{ key: 'the-second-key', tenant: 'a' }] },
      aliases: { small: 'llama-3.1-8b' },
      scheduling: { policy: 'edf' },
      fleet: FLEET,
    },
    'wait for a restart',
  );
  expect(await models('the-first-key')).toMatchObject({ status: 401 });
  expect(await models('the-second-key')).toEqual({ status: 200, names: ['llama-3.1-8b', 'small'] });
  expect(said).toContain('"changed":["gateway.keys","aliases"]');
  expect(said).toContain('"waiting":["scheduling.policy"]');
});

it('a key that stands in a file of its own changes with that file', async () => {
  const keyFile = join(folder, 'team-a.key');
  const keys = [
    { keyFile, tenant: 'a' },
    { key: 'the-second-key', tenant: 'b' },
  ];
  const letIn = (key: string) => until(key, LIMIT_MS, async () => (await models(key)).status === 200);
  writeFileSync(keyFile, 'the-third-key\n');
  write({ gateway: { keys }, fleet: FLEET });
  child.kill('SIGHUP');
  await letIn('the-third-key');
  writeFileSync(keyFile, 'the-fourth-key\n');
  child.kill('SIGHUP');
  await letIn('the-fourth-key');
  expect((await models('the-third-key')).status).toBe(401);
});

it('a file with a mistake changes nothing and is told', async () => {
  await reload({ gateway: { keys: [], hartbeat: '5s' }, fleet: FLEET }, 'the former one serves on');
  expect(said).toContain('gateway.hartbeat');
  expect((await models('the-second-key')).status).toBe(200);
  expect((await models('the-first-key')).status).toBe(401);
  const page = await (await request(`${address}/metrics`)).body.text();
  expect(page).toContain('maestro_config_reloads_total 3');
  expect(page).toContain('maestro_config_reload_failures_total 1');
});

it('a file that is right again is used, and the log keeps to its new level', async () => {
  const before = said;
  write({ gateway: { keys: [{ key: 'the-first-key', tenant: 'a' }] }, observe: { logLevel: 'warn' }, fleet: FLEET });
  child.kill('SIGHUP');
  await until('the first key is let in', LIMIT_MS, async () => (await models('the-first-key')).status === 200);
  expect((await models('the-first-key')).names).toEqual(['llama-3.1-8b']);
  expect(said.slice(before.length)).not.toContain('the config was read again');
});

it('what a key may use in a minute changes with the file', async () => {
  const limit = async () => {
    const answer = await request(`${address}/v1/chat/completions`, {
      ...{ method: 'POST', body: '{}' },
      headers: { authorization: 'Bearer the-first-key', 'content-type': 'application/json' },
    });
    await answer.body.dump();
    return answer.headers['x-ratelimit-limit-requests'];
  };
  for (const requestsPerMinute of [500, 700, undefined]) {
    const key = { key: 'the-first-key', tenant: 'a', requestsPerMinute };
    write({ gateway: { keys: [key] }, observe: { logLevel: 'warn' }, fleet: FLEET });
    child.kill('SIGHUP');
    await until('the limit is in force', LIMIT_MS, async () => (await limit()) === requestsPerMinute?.toString());
  }
});
