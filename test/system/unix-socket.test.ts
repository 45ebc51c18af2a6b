/** Engines that listen on a Unix socket: data, control, discovery, doctor, calibration and supervision go through it. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { discoveredNodes, parseUrls, vllmApiKey } from '../../src/cli/vllm-urls.js';
import { parseConfig } from '../../src/config/load.js';
import { measureEngine } from '../../src/engine/calibrate/measure.js';
import { launchEmulator, type RunningEmulator } from '../../src/engine/emulator/launch.js';
import type { EmulatorOptions } from '../../src/engine/emulator/options.js';
import { StartLocks } from '../../src/engine/supervise/start-locks.js';
import { EngineSupervisor } from '../../src/engine/supervise/supervisor.js';
import { VllmClient } from '../../src/engine/vllm/client.js';
import { examine } from '../../src/observe/doctor/examine.js';
import { ask } from './ask-fixture.js';
import { EMULATED_VLLM } from './built.js';

const SCALE = 20;
let folder: string;
let socket: string;
let url: string;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-uds-'));
  socket = join(folder, 'a.sock');
  url = `unix:${socket}`;
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

async function emulator(options: Partial<EmulatorOptions> = {}): Promise<RunningEmulator> {
  const running = await launchEmulator(
    {
      ...{ model: 'llama-3.1-8b', gpu: 'h100-sxm', uds: socket, schedulingPolicy: 'priority', timeScale: SCALE },
      ...{ enableSleepMode: true, devMode: true, ...options },
    },
    new WallClock(SCALE),
  );
  closers.push(() => running.close());
  return running;
}

async function up(options: Omit<Parameters<typeof serve>[0], 'port'>): Promise<Served> {
  const served = await serve({ ...options, port: 0 });
  closers.push(() => served.stop(0));
  return served;
}

const QUIET = 'observe: { logLevel: silent }\n';

describe('an engine on a socket', () => {
  it('is asked though no header can hold its path', async () => {
    const uds = join(folder, '日本 é.sock');
    await emulator({ uds });
    const served = await up({ config: parseConfig(QUIET, 'test'), vllmUrls: parseUrls(`unix:${uds}`) });
    const answer = await ask(served);
    expect([answer.status, decodeURI(answer.headers.get('x-maestro-engine')!)]).toEqual([200, uds]);
  });

  it('is found, watched and asked by --vllm, with its key', async () => {
    await emulator({ apiKeys: ['engine-key'] });
    const urls = parseUrls(` ${url}`);
    vi.stubEnv('UDS_TEST_KEY', 'engine-key');
    closers.push(async () => void vi.unstubAllEnvs());
    const served = await up({
      config: parseConfig(QUIET, 'test'),
      vllmUrls: urls,
      vllmApiKey: vllmApiKey('UDS_TEST_KEY'),
    });
    expect(served.scheduling.readiness().ready).toBe(true);
    const whole = await ask(served);
    expect([whole.status, whole.headers.get('x-maestro-engine')]).toEqual([200, socket]);
    expect(await (await ask(served, { stream: true })).text()).toMatch(/^data: .*data: \[DONE\]\n\n$/s);
    const big = await ask(served, { messages: [{ role: 'user', content: 'long '.repeat(20_000) }] });
    expect(big.status).toBe(200);
    expect(served.scheduling.fleet().engines).toMatchObject([{ engineId: socket, model: 'llama-3.1-8b' }]);
  });

  it('is put to sleep and woken', async () => {
    const running = await emulator({ startAsleep: true });
    expect(running.url).toBe(url);
    const served = await up({
      config: parseConfig(
        `${QUIET}fleet: { nodes: [{ id: n, gpus: [h100-sxm], hostMemory: 64GiB, engines: [{ id: e, model: llama-3.1-8b, gpus: [0], sleep: true, url: "${url}" }] }] }`,
        'test',
      ),
    });
    expect(served.scheduling.fleet().engines).toMatchObject([{ engineId: 'e', state: 'sleeping' }]);
    const woken = await ask(served);
    expect([woken.status, Number(woken.headers.get('x-maestro-cold-start-ms')) > 0]).toEqual([200, true]);
  });

  it('is down while nobody listens, and what it kept is gone', async () => {
    const client = new VllmClient({ url });
    closers.push(() => client.close());
    expect(await client.health()).toMatchObject({ ok: false, failure: { kind: 'refused' } });
    writeFileSync(socket, '');
    expect((await client.health()).ok).toBe(false);
  });

  it('is looked at by doctor: open to this user only, or to all', async () => {
    await emulator();
    const exposure = async () => {
      const findings = await examine(discoveredNodes([url]), undefined);
      expect(findings.find(({ check }) => check === 'reachable')).toMatchObject({ severity: 'ok', subject: socket });
      return findings.find(({ check }) => check === 'exposure');
    };
    expect(await exposure()).toMatchObject({ severity: 'ok', message: expect.stringContaining('on its socket only') });
    chmodSync(socket, 0o777);
    expect(await exposure()).toMatchObject({ severity: 'problem', message: expect.stringContaining(`at ${socket}`) });
  });

  it('is measured', async () => {
    await emulator();
    const { prefill } = await measureEngine({
      ...{ url, model: 'llama-3.1-8b', nowMs: () => performance.now(), seed: 1, outputTokens: 4, repeats: 1 },
      ...{ promptTokens: [64, 128], batches: [1], contextTokens: [64] },
    });
    expect(prefill).toHaveLength(2);
  });
});

describe('a started engine', () => {
  const FAKE = fileURLToPath(new URL('./fake-vllm-process.mjs', import.meta.url));

  function supervisor(): EngineSupervisor {
    const made = new EngineSupervisor({
      launch: {
        ...{ engineId: 'e1', program: [process.execPath, FAKE], weights: 'tiny', servedName: 'tiny', url },
        ...{ gpuIndices: [0], sleep: true, maxNumSeqs: 8, kvDtype: 'bf16', args: [], env: {} },
      },
      ...{ stateDir: join(folder, 'state'), clock: new WallClock(), locks: new StartLocks() },
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
      backoff: { firstMs: 50, mostMs: 200, soundMs: 60_000 },
      graceMs: 1_000,
    });
    closers.push(() => made.stop());
    made.start();
    return made;
  }

  it('starts again over the socket that it left when it was killed; the folder is made', async () => {
    socket = join(folder, 'deep', 'er', 'a.sock');
    url = `unix:${socket}`;
    const engine = supervisor();
    await until(() => engine.state === 'serving');
    const first = engine.pid!;
    process.kill(first, 'SIGKILL');
    await until(() => engine.state === 'serving' && engine.pid !== first);
    expect([...engine.exits]).toEqual([['killed', 1]]);
  });

  it('does not take the socket of another process', async () => {
    const other = createServer().listen(socket);
    const engine = supervisor();
    await until(() => engine.failure?.includes('in use by another process') ?? false);
    expect(existsSync(socket)).toBe(true);
    other.close();
    await until(() => engine.state === 'serving');
  });

  it('does not remove a file that is no socket', async () => {
    writeFileSync(socket, 'precious');
    const engine = supervisor();
    await until(() => engine.failure?.includes('is no socket') ?? false);
    expect(readFileSync(socket, 'utf8')).toBe('precious');
    rmSync(socket);
    await until(() => engine.state === 'serving');
  });

  it('serves under `maestro up` with --uds', async () => {
    const served = await up({
      config: parseConfig(
        JSON.stringify({
          observe: { logLevel: 'silent' },
          fleet: {
            stateDir: join(folder, 'state'),
            nodes: [
              {
                ...{ id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB' },
                engines: [
                  {
                    ...{ id: 'e', model: 'llama-3.1-8b', gpus: [0], kvMemory: '8GiB', url },
                    launch: { program: EMULATED_VLLM, weights: 'llama-3.1-8b' },
                  },
                ],
              },
            ],
          },
        }),
        'test',
      ),
    });
    await until(() => served.scheduling.readiness().ready);
    expect((await ask(served)).status).toBe(200);
    expect(JSON.parse(readFileSync(join(folder, 'state', 'run', 'e.json'), 'utf8')).command).toEqual(
      expect.arrayContaining(['--uds', socket]),
    );
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}
