/** Weights that a level-2 sleep has dropped are read again from a copy in RAM: emulated engines under a node's agent, and real files. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type EmulatedFleet, type FleetEngine, startEmulatedFleet } from '../../src/engine/emulator/fleet.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { GiB } from '../../src/model/units.js';
import { testDemand, testEngine, testNode } from '../../src/node/node-fixture.js';
import type { HoldEnd } from '../../src/node/open-holds.js';
import { NodeService } from '../../src/node/service.js';
import { MAESTRO } from './built.js';

const H100 = findGpu('h100-sxm')!;
const SOON = { timeout: 20_000, interval: 20 };
const RAM = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

let folder = '';
let ram = '';
let fleet: EmulatedFleet | undefined;
let node: NodeService | undefined;
const log: { level: string; message: string; fields: Record<string, unknown> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-weights-'));
  ram = mkdtempSync(join(RAM, 'maestro-test-'));
  log.length = 0;
});
afterEach(async () => {
  await node?.stop();
  await fleet?.stop();
  for (const each of [folder, ram]) rmSync(each, { recursive: true, force: true });
});

/** A checkpoint as far as anybody here looks: the emulator reads no weights. */
function checkpoint(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, 'model.safetensors'), Buffer.alloc(1024 ** 2, name));
  return path;
}

/** Two engines on one GPU, of which the agent believes that one fits at a time, on a host whose RAM pins neither. */
async function start(): Promise<NodeService> {
  const engines = ['a', 'b'].map(
    (engineId): FleetEngine => ({
      ...{ engineId, model: 'llama-3.1-8b', dtype: 'bf16', kvMemoryBytes: 10 * GiB, gpuIndices: [0] },
      ...{ maxNumSeqs: 8, maxModelLen: 8192, startAsleep: false },
    }),
  );
  fleet = await startEmulatedFleet({
    binPath: MAESTRO,
    timeScale: 50,
    nodes: [{ nodeId: 'n1', gpus: [H100, H100], hostMemoryBytes: 512 * GiB, engines }],
  });
  const specs = fleet.engines.map(({ engineId, url }) =>
    testEngine(engineId, { url, model: 'llama-3.1-8b', weightGiB: 16, kvGiB: 50, weightsFolder: checkpoint(engineId) }),
  );
  return open(specs);
}

async function open(specs: ReturnType<typeof testEngine>[]): Promise<NodeService> {
  const clock = new WallClock();
  const note = (level: string) => (fields: object, message: string) =>
    void log.push({ level, message, fields: fields as Record<string, unknown> });
  node = new NodeService({
    spec: testNode(specs, { hostMemoryBytes: 41 * GiB, staging: { folder: ram, memoryBytes: 40 * GiB } }),
    clock,
    wallClock: clock,
    manager: { retry: { baseMs: 10, maxMs: 50, maxFailures: 3 }, prefetch: false },
    stateDir: join(folder, 'state'),
    monitor: { pollMs: 50, downPollMs: 50, probeTimeoutMs: 1000 },
    logger: { info: note('info'), warn: note('warn') },
  });
  await node.start();
  return node;
}

const urlOf = (engineId: string) => fleet!.engines.find((each) => each.engineId === engineId)!.url;
const copies = () => readdirSync(join(ram, 'n1'));

/** Holds a stage until it is granted, and ends it. */
async function use(service: NodeService, engineId: string): Promise<void> {
  const stageId = `${engineId}-${Math.random()}`;
  const end = await new Promise<HoldEnd | object>((resolve) => {
    const result = service.reserve(testDemand(stageId, engineId), resolve);
    if (result.kind !== 'hold') resolve(result);
  });
  expect(end).toMatchObject({ kind: 'grant' });
  service.release(stageId, {});
}

const wakes = () =>
  log.filter(({ message }) => message === 'wake done').map(({ fields }) => [fields['engineId'], fields['from']]);

it('engines take turns through RAM, and every answer is checked before they serve', async () => {
  const service = await start();
  // Somebody has put b to sleep at level 2: the agent notices, and has its files copied.
  await request(`${urlOf('b')}/sleep?level=2&mode=wait`, { method: 'POST' });
  await vi.waitFor(
    () => expect(service.view('b')).toMatchObject({ state: 'sleeping-deep', weightFiles: 'host' }),
    SOON,
  );
  expect(copies()).toHaveLength(1);
  await use(service, 'b');
  // There is no RAM to pin a's weights, so it sleeps at level 2 as well, and its files are copied beside.
  await vi.waitFor(
    () => expect(service.view('a')).toMatchObject({ state: 'sleeping-deep', weightFiles: 'host' }),
    SOON,
  );
  await use(service, 'a');
  expect(wakes()).toEqual([
    ['b', 'host'],
    ['a', 'host'],
  ]);
  expect(log.filter(({ message }) => message === 'canary done')).toHaveLength(2);
  expect(log.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
    'engine was put to sleep or woken by somebody else',
  ]);
});

it('a copy that is lost is noticed before an engine reads it', async () => {
  const service = await start();
  await request(`${urlOf('b')}/sleep?level=2&mode=wait`, { method: 'POST' });
  await vi.waitFor(() => expect(service.view('b')?.weightFiles).toBe('host'), SOON);
  for (const name of copies()) rmSync(join(ram, 'n1', name), { recursive: true });
  await use(service, 'b');
  expect(service.view('b')?.weightFiles).toBe('disk');
  expect(log.map(({ message }) => message)).toContain(
    'the copy of the weights in RAM is not whole, or the files have changed',
  );
  expect(service.stats()).toMatchObject({ moves: { failures: 0 } });
});

it('an engine that cannot read its weights at all is taken out', async () => {
  const service = await start();
  await request(`${urlOf('b')}/sleep?level=2&mode=wait`, { method: 'POST' });
  await vi.waitFor(() => expect(service.view('b')?.weightFiles).toBe('host'), SOON);
  rmSync(join(folder, 'b'), { recursive: true });
  const end = await new Promise<object>((resolve) => void service.reserve(testDemand('s', 'b'), resolve));
  expect(end).toMatchObject({ kind: 'released' });
});

it('a restarted agent finds the copies of the one before', async () => {
  const service = await start();
  await request(`${urlOf('b')}/sleep?level=2&mode=wait`, { method: 'POST' });
  await vi.waitFor(() => expect(service.view('b')?.weightFiles).toBe('host'), SOON);
  const specs = service.views().map(({ spec }) => spec);
  await service.stop();
  const after = await open([...specs]);
  expect(after.view('b')).toMatchObject({ state: 'sleeping-deep', weightFiles: 'host' });
  expect(log.filter(({ message }) => message === 'weights copied into RAM')).toHaveLength(1);
});

it.each([
  ['serves when it answers as before', (answer: string) => answer, 'canary done'],
  ['is not served by when it answers otherwise', (answer: string) => `${answer}, but not quite`, 'canary failed'],
])('an engine that sleeps without weights while the agent restarts %s', async (_name, remembered, message) => {
  const service = await start();
  await request(`${urlOf('b')}/sleep?level=2&mode=wait`, { method: 'POST' });
  await vi.waitFor(() => expect(service.view('b')?.state).toBe('sleeping-deep'), SOON);
  await use(service, 'b');
  expect(service.view('a')?.state).toBe('sleeping-deep');
  const specs = service.views().map(({ spec }) => spec);
  await service.stop();
  const file = join(folder, 'state', 'canary', 'a.json');
  const kept = JSON.parse(readFileSync(file, 'utf8')) as { readonly process: number; readonly answer: string };
  writeFileSync(file, JSON.stringify({ ...kept, answer: remembered(kept.answer) }));
  log.length = 0;
  const after = await open([...specs]);
  expect(after.view('a')?.state).toBe('sleeping-deep');
  after.reserve(testDemand('s', 'a'), () => undefined);
  await vi.waitFor(() => expect(log.map((line) => line.message)).toContain(message), SOON);
});
