import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { createLocalLevels, type LocalLevels } from '../bus/local.js';
import { WallClock } from '../bus/wall-clock.js';
import { fleetNodes } from '../config/fleet-change.js';
import { parseConfig } from '../config/load.js';
import { toNodeSpecs } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
import { FakeVllm } from '../engine/vllm/fake-vllm-fixture.js';
import { createLogger } from '../observe/log.js';
import { GpuWatches } from './gpu-telemetry.js';
import { LiveFleet } from './live-fleet.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

let servers: Record<string, FakeVllm>;
let urls: Record<string, string>;
let levels: LocalLevels;
let live: LiveFleet;
let said: string[];
/** Engines of the fleets that are replayed, one fleet after the other. */
let replayed: string[][];
const apiKeys = new Map<string, string>();
let startable: boolean;

beforeEach(async () => {
  servers = { a: new FakeVllm({ models: ['m'] }), b: new FakeVllm({ models: ['m'] }) };
  urls = {};
  for (const [id, server] of Object.entries(servers)) urls[id] = await server.start();
  said = [];
  replayed = [];
  apiKeys.clear();
  startable = true;
});
afterEach(async () => {
  live.stop();
  await levels.stop();
  for (const server of Object.values(servers)) await server.stop();
});

const engine = (id: string, more: object = {}) => ({ id, model: 'm', url: urls[id], ...more });

function config(engines: readonly object[], more: object = {}): MaestroConfig {
  const nodes = engines.map((each, index) => ({ id: `n${index}`, engines: [each] }));
  const environment = { ENGINE_KEY: 'from-the-environment' };
  return parseConfig(JSON.stringify({ fleet: { nodes, ...more } }), 'f.yaml', environment);
}

async function serve(started: MaestroConfig): Promise<void> {
  const wallClock = new WallClock();
  const logger = createLogger({
    level: 'info',
    destination: {
      write: (line: string) => {
        const { msg, engine: name = '', engines = '' } = JSON.parse(line);
        if (/fleet|replaced/.test(msg)) said.push(`${name}${engines} ${msg}`.trim());
      },
    },
  });
  levels = createLocalLevels({
    ...{ config: started, nodes: toNodeSpecs(started), clock: wallClock, wallClock, logger },
    onFound: () => live.found(),
    comesBack: (model) => live.comesBack(model),
  });
  live = new LiveFleet({
    ...{ config: started, urls: new Map(), levels, ready: levels.start(), started: () => undefined, apiKeys, logger },
    ...{ wanted: fleetNodes(started, new Map()), stateDir: undefined },
    watches: new GpuWatches(wallClock, logger),
    claimStateDir: () => {
      if (!startable) throw new Error('another process has the folder');
    },
    replays: (nodes) => {
      replayed.push(nodes.flatMap(({ engines }) => engines.map(({ engineId, maxNumSeqs }) => engineId + maxNumSeqs)));
      return undefined;
    },
  });
  await vi.waitFor(() => expect(levels.scheduling.readiness().ready).toBe(true), SOON);
}

/** A call that runs until it is ended, and the engine that has it. */
async function call(stageId: string): Promise<{ engineId: string; end: () => void }> {
  let engineId = '';
  const stage = makeStage({ stageId, workflowId: stageId, model: 'm', arrivalMs: levels.scheduling.nowMs() });
  const handle = levels.scheduling.submit(stage, 'test', {
    onStart: (start) => {
      engineId = start.engineId;
    },
    onReject: (error) => {
      engineId = error.code;
    },
    onRequeue: () => false,
  });
  await vi.waitFor(() => expect(engineId).not.toBe(''), SOON);
  return { engineId, end: () => handle.finish({ kind: 'completed', httpStatus: 200, outputTokens: 1, durationMs: 1 }) };
}

const states = () =>
  levels.scheduling
    .fleet()
    .engines.map(({ engineId, state }) => `${engineId} ${state}`)
    .sort();
const become = (...wanted: string[]) => vi.waitFor(() => expect(states()).toEqual(wanted), SOON);

it('replaces engines of a model one after the other, each when the one before answers', async () => {
  await serve(config([engine('a'), engine('b')]));
  await become('a running', 'b running');
  const calls = [await call('s1'), await call('s2')];
  expect(calls.map(({ engineId }) => engineId).sort()).toEqual(['a', 'b']);
  const slow = { maxNumSeqs: 7 };
  expect(live.change(config([engine('a', slow), engine('b', slow)]))).toEqual([]);
  await become('a draining', 'b running');
  expect(said).toContain('b these engines are replaced one after another');
  const { port } = servers['a']!;
  await servers['a']!.stop();
  calls.find(({ engineId }) => engineId === 'a')!.end();
  await become('a down', 'b running');
  await servers['a']!.start(port);
  await become('a running', 'b draining');
  calls.find(({ engineId }) => engineId === 'b')!.end();
  await become('a running', 'b running');
  expect(replayed.at(-1)).toEqual(['a7', 'b7']);
  expect(said.filter((line) => line.includes('has left'))).toEqual([
    'a the engine has left the fleet',
    'b the engine has left the fleet',
  ]);
  expect((await call('s3')).engineId).toMatch(/^[ab]$/);
});

it('follows a file that changes while the last change is under way', async () => {
  await serve(config([engine('a')]));
  const running = await call('s1');
  live.change(config([engine('b')]));
  await become('a leaving', 'b running');
  // n0 had a, and has b now.
  expect(replayed).toEqual([['b256']]);
  live.change(config([engine('b'), engine('a')]));
  // Wanted again, and on another node: not before it has gone from the one that it is on.
  await become('a leaving', 'b running');
  live.change(config([engine('a')]));
  await become('a running');
  running.end();
  expect((await call('s2')).engineId).toBe('a');
  expect(said.at(-1)).toBe('b the engine has left the fleet');
});

it('has the keys of those that serve and no others, and changes nothing where one cannot be had', async () => {
  vi.stubEnv('ENGINE_KEY', 'a-key');
  await serve(config([engine('a')]));
  live.change(config([engine('a', { apiKeyEnv: 'ENGINE_KEY' }), engine('b', { apiKeyEnv: 'ENGINE_KEY' })]));
  await become('a running', 'b running');
  expect([...apiKeys]).toEqual([
    ['a', 'a-key'],
    ['b', 'a-key'],
  ]);
  vi.unstubAllEnvs();
  expect(() => live.change(config([engine('a', { apiKeyEnv: 'ENGINE_KEY' })]))).toThrow(/ENGINE_KEY is not set/);
  expect([...apiKeys.keys()]).toEqual(['a', 'b']);
  live.change(config([engine('a')]));
  await become('a running');
  expect([...apiKeys]).toEqual([]);
});

it('starts no engine into a folder that another process has', async () => {
  await serve(config([engine('a')]));
  startable = false;
  const launched = engine('b', { launch: { weights: 'w' }, sleep: false });
  expect(() => live.change(config([launched]))).toThrow(/another process/);
  await become('a running');
  expect(said).toEqual([]);
});

it('takes a file without any node for one that is not whole', async () => {
  await serve(config([engine('a')]));
  expect(() => live.change(config([]))).toThrow(/names no nodes/);
  await become('a running');
});

it('leaves a fleet of emulated time as it is', async () => {
  await serve(config([engine('a')]));
  const emulated = (id: string) => ({ nodes: [{ id, gpus: ['h100-sxm'], engines: [] }], timeScale: 5 });
  const emulatedConfig = config([], emulated('n'));
  const options = { config: emulatedConfig, wanted: fleetNodes(emulatedConfig, new Map()) };
  const scaled = new LiveFleet({ ...live['options'], ...options });
  expect(scaled.change(config([], emulated('n')))).toEqual([]);
  expect(scaled.change(config([], emulated('m')))).toEqual(['fleet.nodes']);
});
