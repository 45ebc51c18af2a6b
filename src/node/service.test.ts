import { afterEach, describe, expect, it, vi } from 'vitest';
import { WallClock } from '../bus/wall-clock.js';
import { HostMemory } from '../engine/telemetry/host-memory.js';
import { statusOf } from '../engine/vllm/data-path-fixture.js';
import { unknownEngineSpec } from '../engine/vllm/discover.js';
import { FakeVllm } from '../engine/vllm/fake-vllm-fixture.js';
import { ManualClock } from '../model/clock.js';
import type { EngineSpec, NodeSpec } from '../model/fleet.js';
import { GiB } from '../model/units.js';
import { testDemand, testEngine, testNode } from './node-fixture.js';
import type { HoldEnd } from './open-holds.js';
import { NodeService, type NodeServiceOptions } from './service.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const silent = { info() {}, warn() {} };

async function started(spec: NodeSpec, options: Partial<NodeServiceOptions> = {}): Promise<NodeService> {
  const clock = new WallClock();
  const service = new NodeService({
    spec,
    clock,
    wallClock: clock,
    monitor: { pollMs: 20, downPollMs: 20, probeTimeoutMs: 500 },
    manager: { lookAhead: 0, retry: { baseMs: 10, maxMs: 50, maxFailures: 3 } },
    logger: silent,
    ...options,
  });
  closers.unshift(() => service.stop());
  await service.start();
  return service;
}

async function fakes(...names: string[]): Promise<{ fakes: Record<string, FakeVllm>; engines: EngineSpec[] }> {
  const made: Record<string, FakeVllm> = {};
  const engines: EngineSpec[] = [];
  for (const name of names) {
    const fake = new FakeVllm({ models: [name] });
    made[name] = fake;
    engines.push(testEngine(name, { url: await fake.start() }));
    closers.push(() => fake.stop());
  }
  return { fakes: made, engines };
}

/** Reserves and waits for the end, held or not. */
function outcome(
  service: NodeService,
  stageId: string,
  engineId: string,
): Promise<HoldEnd | { kind: 'refused'; reason: string }> {
  return new Promise((resolve) => {
    const result = service.reserve(testDemand(stageId, engineId), resolve);
    if (result.kind === 'grant') resolve(result);
    if (result.kind === 'refuse') resolve({ kind: 'refused', reason: result.reason });
  });
}

const state = (service: NodeService, engineId: string) => service.view(engineId)?.state;

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000, interval: 20 };

describe('NodeService', () => {
  it('tells of adapters that are loaded and unloaded while the server runs', async () => {
    const { fakes: fake, engines } = await fakes('a');
    fake['a']!.adapters = ['planner'];
    const service = await started(testNode(engines), { monitor: { pollMs: 20, adaptersEveryMs: 20 } });
    const told: (readonly string[] | undefined)[] = service.changedViews().map(({ spec }) => spec.adapters);
    service.listen({
      ...{ requeue: () => false, gone: () => undefined },
      changed: () => told.push(...service.changedViews().map(({ spec }) => spec.adapters)),
    });
    for (const adapters of [['planner', 'critic'], ['critic'], []]) {
      fake['a']!.adapters = adapters;
      await vi.waitFor(() => expect(told.at(-1)).toEqual(adapters), SOON);
    }
    expect(state(service, 'a')).toBe('running');
  });

  it.each([
    ['room for its weights', 100, 1],
    ['none, whatever the share of the node', 10, 2],
  ])('puts an engine to sleep as the host has %s', async (_, availableGib, level) => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const service = await started(testNode(engines), {
      host: { memory: new HostMemory(new WallClock()), availableBytes: () => availableGib * GiB },
    });
    expect(await outcome(service, 's1', 'b')).toMatchObject({ kind: 'grant' });
    expect(fake['a']!.level).toBe(level);
  });

  it('looks at the RAM of its host after every move and now and then, until it is stopped', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const hostClock = new ManualClock();
    const memory = new HostMemory(hostClock);
    const availableBytes = vi.fn(() => 100 * GiB);
    const service = await started(testNode(engines), { host: { memory, availableBytes } });
    expect(availableBytes).toHaveBeenCalledTimes(1);
    expect(await outcome(service, 's1', 'b')).toMatchObject({ kind: 'grant' });
    await vi.waitFor(() => expect(availableBytes).toHaveBeenCalledTimes(3), SOON);
    hostClock.advance(5_000);
    await vi.waitFor(() => expect(availableBytes).toHaveBeenCalledTimes(4), SOON);
    await service.stop();
    memory.begun({ availableBytes: () => 0, pinningBytes: () => 0, hostSeen: () => undefined });
    expect(availableBytes).toHaveBeenCalledTimes(4);
  });

  it('pins on two nodes of one host at once no more than there is', async () => {
    const host = { memory: new HostMemory(new WallClock()), availableBytes: () => 50 * GiB };
    const nodes: { service: NodeService; idle: FakeVllm }[] = [];
    for (const nodeId of ['n1', 'n2']) {
      const { fakes: fake, engines } = await fakes('a', 'b');
      fake['b']!.level = 1;
      const spec = testNode(
        engines.map((engine) => ({ ...engine, nodeId })),
        { nodeId },
      );
      nodes.push({ service: await started(spec, { host }), idle: fake['a']! });
    }
    const ends = await Promise.all(nodes.map(({ service }) => outcome(service, 's1', 'b')));
    expect(ends.map(({ kind }) => kind)).toEqual(['grant', 'grant']);
    expect(nodes.map(({ idle }) => idle.level).sort()).toEqual([1, 2]);
  });

  it('wakes a sleeping engine over an idle one, grants, and hands out the data path', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const service = await started(testNode(engines));
    expect([state(service, 'a'), state(service, 'b')]).toEqual(['running', 'sleeping']);
    const end = await outcome(service, 's1', 'b');
    expect(end).toMatchObject({ kind: 'grant', lease: { engineId: 'b' } });
    expect([fake['a']!.level, fake['b']!.level]).toEqual([1, 0]);
    const endpoint = service.endpoint('b')!;
    expect(endpoint.upstreamModel).toBe('b');
    expect(await statusOf(endpoint.dataPath, '/health')).toBe(200);
    service.firstToken('s1');
    service.release('s1', { promptTokens: 100, outputTokens: 10 });
    expect(service.stats()).toMatchObject({
      leases: 0,
      holds: 0,
      coldStarts: { count: 1 },
      moves: { sleeps: 1, wakes: 1 },
    });
  });

  it('lets an engine sleep once after its start where a GPU has more than fits it, and wakes it again', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const service = await started(testNode(engines), { manager: { firstSleep: true, prefetch: false } });
    const posts = () => fake['a']!.requests.filter((line) => line.startsWith('POST'));
    await vi.waitFor(() => expect([posts().length, state(service, 'a')]).toEqual([2, 'running']), SOON);
    expect(posts()).toEqual(['POST /sleep?level=1&mode=wait', 'POST /wake_up']);
    expect(await outcome(service, 's1', 'a')).toMatchObject({ kind: 'grant' });
    expect(service.stats()).toMatchObject({ moves: { sleeps: 1, wakes: 1, failures: 0 }, coldStarts: { count: 0 } });
  });

  it.each([
    ['lets go of them', true],
    ['cannot', false],
  ])('stops batch stages that make room in the engine as well, where the front door %s', async (_name, lets) => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const clock = new WallClock(20);
    const service = await started(testNode(engines), { clock, manager: { lookAhead: 0, minResidencyMs: 0 } });
    const asked: string[] = [];
    service.listen({
      requeue: (stageId, reason) => {
        asked.push(`${stageId} ${reason}`);
        if (lets) service.release(stageId, {});
        return lets;
      },
      changed: () => {},
      gone: () => {},
    });
    // Its least residency is over.
    const begunMs = clock.nowMs();
    await vi.waitFor(() => expect(clock.nowMs() - begunMs).toBeGreaterThan(20_000), SOON);
    const batch = { interactive: false, sloClass: 'batch', restartable: true, orderKey: 50 };
    expect(service.reserve(testDemand('b1', 'a', batch), () => {}).kind).toBe('grant');
    const ends: string[] = [];
    service.reserve(testDemand('s', 'b', { orderKey: 10 }), ({ kind }) => ends.push(kind));
    await vi.waitFor(() => expect(asked).toEqual(['b1 makes-room']), SOON);
    if (!lets) service.release('b1', {});
    await vi.waitFor(() => expect(ends).toEqual(['grant']), SOON);
    const aborts = fake['a']!.requests.filter((line) => line.includes('/abort_requests'));
    expect(aborts).toEqual(lets ? ['POST /abort_requests {"request_ids":["chatcmpl-b1","cmpl-b1-0"]}'] : []);
  });

  it('never answers a hold before reserve has returned, and not at all after cancel', async () => {
    const { engines } = await fakes('a');
    const service = await started(testNode([{ ...engines[0]!, seats: 1 }]));
    await outcome(service, 's1', 'a');
    const ends: string[] = [];
    expect(service.reserve(testDemand('s2', 'a'), () => ends.push('s2')).kind).toBe('hold');
    expect(service.reserve(testDemand('s3', 'a'), () => ends.push('s3')).kind).toBe('hold');
    service.cancel('s2');
    service.release('s1', {});
    expect(ends).toEqual([]);
    await vi.waitFor(() => expect(ends).toEqual(['s3']), SOON);
    service.release('s3', {});
    expect(service.stats()).toMatchObject({ leases: 0, holds: 0 });
  });

  it('gives a grant back that was cancelled by the callback of another in the same turn', async () => {
    const { engines } = await fakes('a');
    const service = await started(testNode(engines));
    await outcome(service, 's1', 'a');
    await outcome(service, 's2', 'a');
    const ends: string[] = [];
    const onEnd = (stageId: string, other: string) => () => {
      ends.push(stageId);
      service.cancel(other);
    };
    service.reserve(testDemand('s3', 'a'), onEnd('s3', 's4'));
    service.reserve(testDemand('s4', 'a'), onEnd('s4', 's3'));
    service.release('s1', {});
    service.release('s2', {});
    await vi.waitFor(() => expect(ends).toEqual(['s3']), SOON);
    service.release('s3', {});
    expect(service.stats().leases).toBe(0);
  });

  it('does not take the grant of a cancelled hold for that of a new one of the same stage', async () => {
    const { engines } = await fakes('a');
    const service = await started(testNode(engines));
    await outcome(service, 's1', 'a');
    await outcome(service, 's2', 'a');
    const ends: HoldEnd[] = [];
    service.reserve(testDemand('s3', 'a'), () => {
      service.cancel('s4');
      // Another stage takes the seat, so the stage must wait again.
      expect(service.reserve(testDemand('s5', 'a'), () => {}).kind).toBe('grant');
      expect(service.reserve(testDemand('s4', 'a'), (end) => ends.push(end)).kind).toBe('hold');
    });
    service.reserve(testDemand('s4', 'a'), (end) => ends.push(end));
    service.release('s1', {});
    service.release('s2', {});
    await vi.waitFor(() => expect(service.stats()).toMatchObject({ leases: 2, holds: 1 }), SOON);
    expect(ends).toEqual([]);
    service.release('s5', {});
    await vi.waitFor(() => expect(ends).toHaveLength(1), SOON);
    expect(service.stats()).toMatchObject({ leases: 2, holds: 0 });
  });

  it('lets holds go when the engine dies, refuses meanwhile, and serves again when it is back', async () => {
    const { fakes: fake, engines } = await fakes('a');
    const service = await started(testNode([{ ...engines[0]!, seats: 1 }]));
    await outcome(service, 's1', 'a');
    const held = outcome(service, 's2', 'a');
    const { port } = fake['a']!;
    await fake['a']!.stop();
    service.reportUnreachable('a', true);
    expect(await held).toEqual({ kind: 'released', reason: 'engine-down' });
    service.release('s1', {});
    expect(await outcome(service, 's3', 'a')).toEqual({ kind: 'refused', reason: 'engine-down' });
    await fake['a']!.start(port);
    await vi.waitFor(() => expect(state(service, 'a')).toBe('running'), SOON);
    expect((await outcome(service, 's4', 'a')).kind).toBe('grant');
  });

  it('tries a wake again that fails, and takes the engine out after the last', async () => {
    const { fakes: fake, engines } = await fakes('a');
    fake['a']!.level = 1;
    fake['a']!.faults.set('/wake_up', 500);
    const service = await started(testNode(engines));
    expect(await outcome(service, 's1', 'a')).toEqual({ kind: 'released', reason: 'engine-failed' });
    expect(fake['a']!.requests.filter((line) => line === 'POST /wake_up')).toHaveLength(3);
    expect(state(service, 'a')).toBe('failed');
  });

  it('learns everything of an engine of which only the URL is known, also when it comes later', async () => {
    const fake = new FakeVllm({ devMode: false, models: ['found-model'] });
    const url = await fake.start();
    const { port } = fake;
    await fake.stop();
    closers.push(() => fake.stop());
    const spec: NodeSpec = {
      nodeId: 'n1',
      clusterId: 'c1',
      gpus: [],
      hostMemoryBytes: Infinity,
      engines: [unknownEngineSpec('e1', 'n1', url)],
    };
    const service = await started(spec);
    const seen: string[] = [];
    service.listen({
      requeue: () => false,
      changed: () => seen.push(...service.changedViews().map((view) => `${view.spec.model} ${view.state}`)),
      gone: () => {},
    });
    expect(await outcome(service, 's0', 'e1')).toEqual({ kind: 'refused', reason: 'engine-down' });
    await fake.start(port);
    await vi.waitFor(() => expect(seen).toContain('found-model running'), SOON);
    expect(service.view('e1')).toMatchObject({ kvPoolTokens: 4096, spec: { maxModelLen: 2048, sleepCapable: false } });
    expect((await outcome(service, 's1', 'e1')).kind).toBe('grant');
    expect(service.endpoint('e1')?.upstreamModel).toBe('found-model');
  });

  it('waits for the device to show the room, and takes insane readings for none', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    let used = [52 * GiB, 0];
    const telemetry = { usedBytes: () => used, refresh: async () => {} };
    const service = await started(testNode(engines), { telemetry });
    expect(service.gpuMemory()[0]).toMatchObject({ gpu: 0, usedBytes: 52 * GiB });
    const end = outcome(service, 's1', 'b');
    await vi.waitFor(() => expect(fake['a']!.level).toBe(1), SOON);
    used = [Number.NaN, 0];
    await vi.waitFor(() => expect(state(service, 'a')).toBe('sleeping'), SOON);
    const { length } = fake['b']!.requests;
    await vi.waitFor(() => expect(fake['b']!.requests.length).toBeGreaterThan(length + 4), SOON);
    expect(fake['b']!.level).toBe(1);
    used = [2 * GiB, 0];
    expect((await end).kind).toBe('grant');
  });

  it('looks at the device when a sleep has ended, and not only when the next poll is due', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    let looks = 0;
    const used = () => (fake['a']!.level === 0 ? 52 * GiB : 2 * GiB);
    let seen = used();
    const telemetry = {
      usedBytes: () => [seen, 0],
      refresh: async () => {
        looks += 1;
        seen = used();
      },
    };
    const service = await started(testNode(engines), { telemetry });
    expect((await outcome(service, 's1', 'b')).kind).toBe('grant');
    // Nothing but that look has told of the room.
    expect(looks).toBeGreaterThan(0);
  });

  it('follows when somebody else puts an engine to sleep or wakes it', async () => {
    const { fakes: fake, engines } = await fakes('a');
    const service = await started(testNode(engines));
    fake['a']!.level = 1;
    await vi.waitFor(() => expect(state(service, 'a')).toBe('sleeping'), SOON);
    fake['a']!.level = 0;
    await vi.waitFor(() => expect(state(service, 'a')).toBe('running'), SOON);
  });

  it('does not put an engine to sleep for its first time once more after somebody else has woken it', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    const { a, b } = fake as { a: FakeVllm; b: FakeVllm };
    b.level = 1;
    const service = await started(testNode(engines), { manager: { firstSleep: true } });
    const asked = (path: string) => a.requests.filter((request) => request.includes(path)).length;
    await vi.waitFor(() => expect([asked('POST /wake_up'), state(service, 'a')]).toEqual([1, 'running']), SOON);
    a.level = 1;
    await vi.waitFor(() => expect(state(service, 'a')).toBe('sleeping'), SOON);
    a.level = 0;
    await vi.waitFor(() => expect(state(service, 'a')).toBe('running'), SOON);
    const polls = asked('GET /metrics');
    await vi.waitFor(() => expect(asked('GET /metrics')).toBeGreaterThan(polls + 3), SOON);
    expect(asked('POST /sleep')).toBe(1);
  });

  it('wakes an engine at once that somebody else has put to sleep with its requests in it', async () => {
    const { fakes: fake, engines } = await fakes('a');
    const service = await started(testNode(engines));
    await outcome(service, 's1', 'a');
    fake['a']!.level = 1;
    await vi.waitFor(() => expect(fake['a']!.level).toBe(0), SOON);
    expect(state(service, 'a')).toBe('running');
    // Without them it may sleep; a second look that is still on its way may wake it once more.
    service.release('s1', {});
    await vi.waitFor(() => {
      fake['a']!.level = 1;
      expect(state(service, 'a')).toBe('sleeping');
    }, SOON);
  });

  it('feeds the gauges, and releases what is still held when it stops', async () => {
    const { fakes: fake, engines } = await fakes('a');
    const service = await started(testNode([{ ...engines[0]!, seats: 1 }]));
    fake['a']!.running = 5;
    await vi.waitFor(
      () => expect(service.gauges('a')).toMatchObject({ running: 5, waiting: 0, kvUsage: 0.25, leases: 0 }),
      SOON,
    );
    await outcome(service, 's1', 'a');
    const held = outcome(service, 's2', 'a');
    await service.stop();
    expect(await held).toEqual({ kind: 'released', reason: 'shutting-down' });
  });

  it('takes in a further engine, and lets it go when what runs on it has ended: then nobody asks it for anything any more', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    const service = await started(testNode([engines[0]!]));
    await service.join(engines[1]!);
    expect(service.views().map((view) => [view.spec.engineId, view.state])).toEqual([
      ['a', 'running'],
      ['b', 'running'],
    ]);
    expect((await outcome(service, 's', 'b')).kind).toBe('grant');
    const { dataPath } = service.endpoint('b')!;
    expect(await statusOf(dataPath, '/health')).toBe(200);
    const heard: string[] = [];
    service.listen({ requeue: () => false, changed: () => {}, gone: (engineId) => heard.push(`gone ${engineId}`) });
    service.leave('b', 'for-good', () => heard.push('empty'));
    expect([heard, service.view('b')!.state]).toEqual([[], 'leaving']);
    service.release('s', {});
    await vi.waitFor(() => expect(heard).toEqual(['empty']), SOON);
    const closed = service.forget('b');
    expect([heard, service.view('b'), service.endpoint('b')]).toEqual([['empty', 'gone b'], undefined, undefined]);
    await closed;
    const { length } = fake['b']!.requests;
    const asked = fake['a']!.requests.length;
    await vi.waitFor(() => expect(fake['a']!.requests.length).toBeGreaterThan(asked + 4), SOON);
    expect(fake['b']!.requests.length).toBe(length);
    await expect(statusOf(dataPath, '/health')).rejects.toThrow(/left the fleet/);
  });

  it('hears nothing of an engine that is empty and is to stay after all', async () => {
    const { engines } = await fakes('a');
    const service = await started(testNode(engines));
    const heard: string[] = [];
    await outcome(service, 's', 'a');
    service.leave('a', 'for-good', () => heard.push('empty'));
    service.leave('a', undefined);
    service.release('s', {});
    expect((await outcome(service, 't', 'a')).kind).toBe('grant');
    expect(heard).toEqual([]);
  });

  it('puts an engine that leaves to sleep, where others of its GPU take turns with it, and lets it go then', async () => {
    const { fakes: fake, engines } = await fakes('a', 'b');
    fake['b']!.level = 1;
    const service = await started(testNode(engines));
    const levelWhenOver: number[] = [];
    service.leave('a', 'for-good', () => levelWhenOver.push(fake['a']!.level));
    await vi.waitFor(() => expect(levelWhenOver).toEqual([1]), SOON);
  });
});
