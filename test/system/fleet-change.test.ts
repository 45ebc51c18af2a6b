/** SIGHUP with another fleet in the file: engines and nodes join and leave `maestro up` while it serves. The servers are emulated; those with a `url` live in this process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { request } from 'undici';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { FleetSnapshot } from '../../src/bus/contract.js';
import { WallClock } from '../../src/bus/wall-clock.js';
import { launchEmulator, type RunningEmulator } from '../../src/engine/emulator/launch.js';
import { alive, until } from './agent-process.js';
import { EMULATED_VLLM, MAESTRO, ROOT } from './built.js';
import { freePort } from './free-port.js';

const LIMIT_MS = 60_000;
vi.setConfig({ testTimeout: 180_000 });

const SMALL = 'llama-3.1-8b';
const OTHER = 'qwen2.5-7b';

let folder = '';
let maestro: ChildProcess;
let said = '';
let address = '';
const emulators: RunningEmulator[] = [];
let servers: Record<'a' | 'b' | 'c', RunningEmulator>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-fleet-'));
  servers = { a: await emulate(SMALL), b: await emulate(SMALL), c: await emulate(OTHER) };
  write([node('n1', [engine('a')])]);
  maestro = spawn(process.execPath, [MAESTRO, 'up', '--fleet', join(folder, 'fleet.yaml'), '--port', '0'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [maestro.stdout!, maestro.stderr!]) {
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  }
  await until('it serves', LIMIT_MS, () => said.includes('\nready'));
  address = /maestro serves at (\S+)/.exec(said)![1]!;
});

afterAll(async () => {
  const ended = once(maestro, 'close');
  maestro.kill('SIGTERM');
  await ended;
  for (const emulator of emulators) await emulator.close();
  rmSync(folder, { recursive: true, force: true });
});

async function emulate(model: string, port = 0): Promise<RunningEmulator> {
  const options = { model, gpu: 'h100-sxm', kvCacheMemoryBytes: 2 ** 33, maxModelLen: 16_384, timeScale: 5, port };
  const emulator = await launchEmulator(options, new WallClock(5));
  emulators.push(emulator);
  return emulator;
}

const engine = (id: 'a' | 'b' | 'c', more: object = {}) => ({
  ...{ id, model: id === 'c' ? OTHER : SMALL, gpus: [0], kvMemory: '8GiB', maxModelLen: 16_384, url: servers[id].url },
  ...more,
});

const node = (id: string, engines: readonly object[], more: object = {}) => ({
  ...{ id, gpus: ['h100-sxm'], hostMemory: '64GiB', engines },
  ...more,
});

function write(nodes: readonly object[]): void {
  writeFileSync(
    join(folder, 'fleet.yaml'),
    JSON.stringify({ fleet: { stateDir: join(folder, 'state'), nodes }, scheduling: { lookAhead: 0 } }),
  );
}

/** Has the file read again; returns what was said from then on. */
async function reload(nodes: readonly object[]): Promise<() => string> {
  const before = said.length;
  write(nodes);
  maestro.kill('SIGHUP');
  const since = () => said.slice(before);
  await until('it was read', LIMIT_MS, () => /the config was (not )?read again/.test(since()));
  return since;
}

const get = async (path: string) => (await request(address + path)).body.text();
const fleet = async (): Promise<FleetSnapshot> => JSON.parse(await get('/v1/maestro/fleet'));
const states = async () => Object.fromEntries((await fleet()).engines.map(({ engineId, state }) => [engineId, state]));
const names = async () => {
  const { data } = JSON.parse(await get('/v1/models')) as { data: { id: string }[] };
  return data.map(({ id }) => id).sort();
};
const becomes = (wanted: Readonly<Record<string, string>>) =>
  until(JSON.stringify(wanted), LIMIT_MS, async () => isDeepStrictEqual(await states(), wanted));

const chat = (model: string, tokens: number, stream = true) =>
  request(`${address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model, stream, max_tokens: tokens, ignore_eos: true, messages: [{ role: 'user', content: 'hello' }] },
    }),
  });

/** A stream of which the first words have come. Five thousand tokens take about eight seconds. */
async function openStream(model: string, tokens: number) {
  const { statusCode, headers, body } = await chat(model, tokens);
  expect(statusCode).toBe(200);
  let words = '';
  const end = (async () => {
    try {
      for await (const chunk of body) words += String(chunk);
    } catch {
      // Cut.
    }
    return words;
  })();
  await until('the stream flows', LIMIT_MS, () => words.includes('"content"'));
  return { engine: headers['x-maestro-engine'], end };
}

const whole = (words: string) => words.endsWith('data: [DONE]\n\n');

/** Sum of a metric over all its labels. */
async function sumOf(metric: string): Promise<number> {
  const lines = (await get('/metrics')).split('\n').filter((line) => line.startsWith(`${metric}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

it('under load a node joins and another leaves: no request fails, no stream is cut, and nothing is left of what is gone', async () => {
  let loaded = true;
  let begun = 0;
  const took: Record<string, number> = {};
  const client = async () => {
    while (loaded) {
      begun += 1;
      const { statusCode, headers, body } = await chat(SMALL, 200);
      expect([statusCode, whole(await body.text())]).toEqual([200, true]);
      const by = String(headers['x-maestro-engine']);
      took[by] = (took[by] ?? 0) + 1;
    }
  };
  const before = await sumOf('maestro_requests_total');
  const clients = Array.from({ length: 6 }, client);
  const n1 = node('n1', [engine('a')]);
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  await until('the load flows', LIMIT_MS, () => (took['a'] ?? 0) > 5);
  await reload([n1, n2]);
  await until('the new node takes its share', LIMIT_MS, () => (took['b'] ?? 0) > 5);
  const since = await reload([n2]);
  await until('the other is gone', LIMIT_MS, () => since().includes('the node has left the fleet'));
  const left = took['a'];
  const served = took['b']!;
  await until('the load goes on', LIMIT_MS, () => took['b']! > served + 10);
  loaded = false;
  await Promise.all(clients);
  expect(took['a']! - left!).toBeLessThanOrEqual(6);
  expect(await states()).toEqual({ b: 'running' });
  const { outcomes, engines, queued } = await fleet();
  expect(outcomes).toMatchObject({ completed: begun, rejected: 0, engine_failed: 0, internal: 0 });
  expect([engines[0]!.leases, queued]).toEqual([0, { [SMALL]: 0 }]);
  expect(await sumOf('maestro_requests_total')).toBe(before + begun);
  expect(await sumOf('maestro_requests_in_flight')).toBe(0);
  expect(await get('/metrics')).not.toMatch(/engine="a"|node="n1"/);
  expect(await names()).toEqual([SMALL]);
});

it('the last engine of a model leaves: what runs ends, what waits is told that the model is not served, and so is whoever comes later', async () => {
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  await reload([n2, node('n3', [engine('c', { maxNumSeqs: 1 })])]);
  await becomes({ b: 'running', c: 'running' });
  expect(await names()).toEqual([SMALL, OTHER]);
  const running = await openStream(OTHER, 4_000);
  const waiting = chat(OTHER, 10, false);
  await until('one waits', LIMIT_MS, async () => (await fleet()).queued[OTHER] === 1);
  await reload([n2]);
  const refused = await waiting;
  expect([refused.statusCode, await refused.body.text()]).toEqual([404, expect.stringContaining('model_not_found')]);
  expect((await chat(OTHER, 10)).statusCode).toBe(404);
  expect(await names()).toEqual([SMALL]);
  expect(await states()).toEqual({ b: 'running', c: 'leaving' });
  expect(whole(await running.end)).toBe(true);
  await becomes({ b: 'running' });
  await until('its queue is gone', LIMIT_MS, async () => !(OTHER in (await fleet()).queued));
});

it('wanted again before it has drained, it stays; a file with a mistake changes nothing meanwhile', async () => {
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  const n3 = node('n3', [engine('c')]);
  await reload([n2, n3]);
  await becomes({ b: 'running', c: 'running' });
  const running = await openStream(OTHER, 6_000);
  await reload([n2]);
  await becomes({ b: 'running', c: 'leaving' });
  await reload([n2]);
  await reload([n2, { id: 'n3', engines: [{ id: 'c', modle: OTHER }] }]);
  expect(await states()).toEqual({ b: 'running', c: 'leaving' });
  const since = await reload([n2, n3]);
  await becomes({ b: 'running', c: 'running' });
  expect(since()).toContain('the engine stays in the fleet after all');
  const { statusCode, body } = await chat(OTHER, 10, false);
  expect([statusCode, await body.text()]).toEqual([200, expect.stringContaining('"usage"')]);
  expect(whole(await running.end)).toBe(true);
  expect(await states()).toEqual({ b: 'running', c: 'running' });
});

it('an engine that changes goes and comes back; what asks for its model meanwhile waits, and goes to the new server', async () => {
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  const fresh = await emulate(OTHER);
  const running = await openStream(OTHER, 4_000);
  const since = await reload([n2, node('n3', [engine('c', { url: fresh.url })])]);
  await becomes({ b: 'running', c: 'draining' });
  const waiting = chat(OTHER, 10, false);
  expect(await names()).toEqual([SMALL, OTHER]);
  expect(whole(await running.end)).toBe(true);
  expect((await waiting).statusCode).toBe(200);
  expect(await (await waiting).body.text()).toContain('"usage"');
  const page = await (await request(`${fresh.url}/metrics`)).body.text();
  expect(page).toMatch(/vllm:request_success_total\{[^}]*finished_reason="length"[^}]*\} 1/);
  expect(since()).not.toContain('wait for a restart');
});

it('an added server that is away takes nothing, and serves once it is there; other GPUs of a node wait for a restart', async () => {
  const port = await freePort();
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  const added = engine('a', { url: `http://127.0.0.1:${port}` });
  const since = await reload([n2, node('n1', [added]), node('n3', [engine('c')], { gpus: ['h200-sxm'] })]);
  expect(since()).toContain('"waiting":["fleet.nodes[n3].gpus"]');
  await becomes({ b: 'running', c: 'running', a: 'down' });
  const { headers, body } = await chat(SMALL, 10, false);
  expect([headers['x-maestro-engine'], await body.text()]).toEqual(['b', expect.stringContaining('"usage"')]);
  await emulate(SMALL, port);
  await becomes({ b: 'running', c: 'running', a: 'running' });
  await reload([n2]);
  await becomes({ b: 'running' });
});

it('an engine with a `launch` is started when it joins and ended when it leaves; killed while it drains, it is gone as well', async () => {
  const n2 = node('n2', [engine('b')], { cluster: 'far' });
  const launched = node('n4', [
    {
      ...engine('c', { id: 'd', url: `http://127.0.0.1:${await freePort()}` }),
      launch: { program: EMULATED_VLLM, weights: OTHER },
    },
  ]);
  const pid = (): number => JSON.parse(readFileSync(join(folder, 'state/run/d.json'), 'utf8')).pid;
  const isUp = () => until('it serves', LIMIT_MS, async () => (await states())['d'] === 'running');
  await reload([n2, launched]);
  await isUp();
  const first = pid();
  const running = await openStream(OTHER, 4_000);
  await reload([n2]);
  expect(await states()).toEqual({ b: 'running', d: 'leaving' });
  expect(whole(await running.end)).toBe(true);
  await becomes({ b: 'running' });
  expect(alive(first)).toBe(false);
  await reload([n2, launched]);
  await isUp();
  const second = pid();
  const cut = await openStream(OTHER, 10_000);
  await reload([n2]);
  process.kill(second, 'SIGKILL');
  expect(whole(await cut.end)).toBe(false);
  await becomes({ b: 'running' });
  expect(alive(second)).toBe(false);
  expect(await sumOf('maestro_requests_in_flight')).toBe(0);
});
