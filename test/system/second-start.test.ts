/** `maestro up` where another one runs already, and told to end twice. Its engine is a process that only answers `/health`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { endGroup } from '../../src/engine/supervise/engine-process.js';
import { alive, until } from './agent-process.js';
import { MAESTRO, ROOT } from './built.js';
import { freePort } from './free-port.js';

const LIMIT_MS = 60_000;

const FAKE = join(import.meta.dirname, 'fake-vllm-process.mjs');

const LAUNCH = { launch: { program: [process.execPath, FAKE], weights: 'llama-3.1-8b' } };

let folder = '';
let port = 0;
let enginePort = 0;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-second-'));
  port = await freePort();
  enginePort = await freePort();
});

afterEach(async () => {
  const engine = enginePid();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  if (engine !== undefined) await endGroup(engine, 1_000, new WallClock());
  rmSync(folder, { recursive: true, force: true });
});

/** Starts `maestro up`; `said` is all that it has printed. Its engine is one that it starts, unless `start` says otherwise. */
function up(more: object = {}, onPort = port, start: object = LAUNCH) {
  const file = join(folder, `fleet-${children.length}.json`);
  const engine = {
    ...{ id: 'e', model: 'llama-3.1-8b', gpus: [0], kvMemory: '8GiB', url: `http://127.0.0.1:${enginePort}` },
    ...start,
  };
  const nodes = [{ id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB', engines: [engine] }];
  writeFileSync(file, JSON.stringify({ fleet: { stateDir: join(folder, 'state'), ...more, nodes } }));
  const child = spawn(process.execPath, [MAESTRO, 'up', '--fleet', file, '--port', String(onPort)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const run = { child, said: '', ended: once(child, 'close') };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      run.said += String(chunk);
    });
  }
  return run;
}

function enginePid(): number | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'state', 'run', 'e.json'), 'utf8')).pid;
  } catch {
    return undefined;
  }
}

async function engineOfTheFirst(): Promise<number> {
  const first = up();
  await until('the first serves', LIMIT_MS, () => first.said.includes('maestro serves at'));
  await until('its engine runs', LIMIT_MS, () => enginePid() !== undefined);
  return enginePid()!;
}

it('a second one on the same folder ends, whatever its port, and leaves the engine of the first alone', async () => {
  const engine = await engineOfTheFirst();
  const second = up({}, 0);
  expect((await second.ended)[0]).toBe(1);
  expect(second.said).toMatch(new RegExp(`Process ${children[0]!.pid} runs the engines of \\S+state`));
  expect(alive(engine)).toBe(true);
});

it('a second one on the same port ends before it starts or takes over anything', async () => {
  const engine = await engineOfTheFirst();
  const second = up({ stateDir: join(folder, 'other') });
  expect((await second.ended)[0]).toBe(1);
  expect(second.said).toMatch(/^error: Cannot listen on .* something listens there already/);
  expect(alive(engine)).toBe(true);
});

it('told to end a second time it exits at once, and its engine ends too', async () => {
  const engine = await engineOfTheFirst();
  const [first] = children;
  const open = request(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'hello' }] }),
  }).catch(() => undefined);
  const inFlight = async () =>
    /^maestro_requests_in_flight 1$/m.test(await (await request(`http://127.0.0.1:${port}/metrics`)).body.text());
  await until('a request is open', LIMIT_MS, inFlight);
  first!.kill('SIGTERM');
  const ended = once(first!, 'exit');
  await until('it drains', LIMIT_MS, async () => (await readiness()) !== 200);
  first!.kill('SIGTERM');
  expect((await ended)[0]).toBe(130);
  await open;
  await until('the engine has ended', LIMIT_MS, () => !alive(engine));
});

describe('a signal while it starts, and waits for the first answer of an engine', () => {
  /** An engine that takes connections and says nothing. */
  let silent: Server;
  beforeEach(async () => {
    silent = createServer(() => {}).listen(enginePort, '127.0.0.1');
    await once(silent, 'listening');
  });
  afterEach(() => {
    silent.close();
  });

  it('ends it, and not by the default of the signal, which the first process of a container does not have', async () => {
    const run = up({}, port, {});
    await until('it starts', LIMIT_MS, () => run.said.includes('maestro starts'));
    run.child.kill('SIGTERM');
    expect(await run.ended).toEqual([0, null]);
  });

  it('reads the file again, and goes on', async () => {
    const run = up({}, port, {});
    await until('it starts', LIMIT_MS, () => run.said.includes('maestro starts'));
    run.child.kill('SIGHUP');
    await until('it serves', LIMIT_MS, () => run.said.includes('maestro serves at'));
    await until('it has read the file', LIMIT_MS, () => run.said.includes('the config was read again'));
  });
});

async function readiness(): Promise<number> {
  try {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/livez`);
    await body.dump();
    return statusCode;
  } catch {
    return 0;
  }
}
