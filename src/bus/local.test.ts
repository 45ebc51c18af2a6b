import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeStage } from '../../test/stage-fixture.js';
import { parseConfig } from '../config/load.js';
import { toNodeSpecs } from '../config/node-specs.js';
import { unknownEngineSpec } from '../engine/vllm/discover.js';
import { FakeVllm } from '../engine/vllm/fake-vllm-fixture.js';
import { ManualClock } from '../model/clock.js';
import type { MaestroError } from '../model/error.js';
import { GiB, MINUTE_MS } from '../model/units.js';
import { testEngine, testNode } from '../node/node-fixture.js';
import { createLogger } from '../observe/log.js';
import type { StageHandle } from './contract.js';
import { createLocalLevels, type LocalLevels } from './local.js';
import { WallClock } from './wall-clock.js';

/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000 };

let engine: FakeVllm;
let clock: ManualClock;
let levels: LocalLevels;
let started: string[];
let refused: Map<string, MaestroError>;
let comesBack: boolean;

beforeEach(() => {
  engine = new FakeVllm({ models: ['m'] });
  clock = new ManualClock();
  started = [];
  refused = new Map();
  comesBack = false;
});
afterEach(async () => {
  await levels.stop();
  await engine.stop();
});

/** The levels under a config, in front of one server that takes one request at a time. */
async function start(settings: string, ...more: string[]): Promise<void> {
  const engines = [await engine.start(), ...more].map(
    (url, index) => `{id: e${index}, model: m, url: "${url}", maxNumSeqs: 1}`,
  );
  const text = `${settings}\nfleet: {nodes: [{id: n, engines: [${engines.join(', ')}]}]}`;
  const config = parseConfig(text, 'test.yaml');
  const logger = createLogger({ level: 'silent' });
  const nodes = toNodeSpecs(config).map((node) => ({
    ...node,
    engines: node.engines.map((spec) => ({ ...spec, seats: 1 })),
  }));
  levels = createLocalLevels({
    ...{ config, nodes, clock, wallClock: new WallClock(), logger },
    comesBack: (model) => model === 'm' && comesBack,
  });
  await levels.start();
}

function submit(stageId: string, sloClass: string, deadlineMs = 60_000): StageHandle {
  const stage = makeStage({ stageId, workflowId: stageId, model: 'm', sloClass, arrivalMs: clock.nowMs(), deadlineMs });
  return levels.scheduling.submit(stage, 'test', {
    onStart: () => started.push(stageId),
    onReject: (error) => refused.set(stageId, error),
    onRequeue: () => false,
  });
}

const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

async function seconds(count: number): Promise<void> {
  for (let second = 0; second < count; second++) {
    clock.advance(1_000);
    await settled();
  }
}

it('turns away what has waited for as long as gateway.timeouts.queue says, in every class, and nothing sooner', async () => {
  await start('scheduling: {lookAhead: 0}\ngateway: {timeouts: {queue: 20m}}');
  submit('running', 'interactive');
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  submit('interactive', 'interactive');
  submit('batch', 'batch');
  await settled();
  clock.advance(19 * MINUTE_MS);
  await settled();
  expect([...refused.keys()]).toEqual([]);
  clock.advance(2 * MINUTE_MS);
  await settled();
  expect([...refused.keys()].sort()).toEqual(['batch', 'interactive']);
  for (const { code } of refused.values()) expect(code).toBe('queue_timeout');
});

it.each([
  ['interactive', 'interactiveStarvationBound: 1m', 20],
  ['interactive', 'interactiveStarvationBound: 1h', 25],
  ['interactive', 'starvationBound: 1m, interactiveStarvationBound: 1h', 25],
  ['batch', 'starvationBound: 1m, interactiveStarvationBound: 1h', 20],
  ['batch', 'starvationBound: 1h, interactiveStarvationBound: 1m', 25],
])('lets one %s stage in twenty that is overdue go first: %s', async (sloClass, bounds, place) => {
  await start(`scheduling: {policy: edf, lookAhead: 0, retention: none, ${bounds}}`);
  const handles = new Map([['running', submit('running', sloClass)]]);
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  handles.set('old', submit('old', sloClass, 1e9));
  await settled();
  clock.advance(2 * MINUTE_MS);
  for (let index = 0; index < 25; index++) handles.set(`urgent-${index}`, submit(`urgent-${index}`, sloClass, 1e6));
  for (let count = 1; count <= 26; count++) {
    handles.get(started.at(-1)!)!.finish({ kind: 'completed', httpStatus: 200, outputTokens: 10, durationMs: 1 });
    await vi.waitFor(() => expect(started.length).toBe(count + 1), SOON);
  }
  expect(started.indexOf('old') - 1).toBeGreaterThanOrEqual(place - 1);
  expect(started.indexOf('old') - 1).toBeLessThanOrEqual(place);
});

it('waits for an engine that is being started, and not for one that does not come back', async () => {
  await start('scheduling: {lookAhead: 0}');
  await engine.stop();
  comesBack = true;
  submit('early', 'interactive');
  await vi.waitFor(() => expect(levels.scheduling.fleet().engines[0]!.state).toBe('down'), SOON);
  submit('late', 'interactive');
  await seconds(5 * 60);
  expect([...refused.keys()]).not.toContain('late');
  comesBack = false;
  await seconds(8);
  expect([...refused.keys()]).not.toContain('late');
  await seconds(5);
  expect(refused.get('late')).toMatchObject({ code: 'no_engine' });
});

it('waits for the engine with the adapter as for one of a model, whatever else of the model is up', async () => {
  const adapted = new FakeVllm({ models: ['m'] });
  adapted.adapters = ['planner'];
  await start('scheduling: {lookAhead: 0}', await adapted.start());
  const ask = (stageId: string) =>
    levels.scheduling.submit(makeStage({ stageId, workflowId: stageId, model: 'm', adapter: 'planner' }), 'test', {
      onStart: () => started.push(stageId),
      onReject: (error) => refused.set(stageId, error),
      onRequeue: () => false,
    });
  expect(levels.scheduling.resolveModel('planner')).toMatchObject({ base: 'm', enginesUp: 1 });
  ask('running');
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  await adapted.stop();
  await vi.waitFor(() => expect(levels.scheduling.resolveModel('planner')).toMatchObject({ enginesUp: 0 }), SOON);
  ask('waits');
  await seconds(8);
  expect([...refused.keys()]).toEqual([]);
  await seconds(5);
  expect(refused.get('waits')).toMatchObject({ code: 'no_engine', message: expect.stringContaining('planner') });
});

it('tells a tenant whose share of the queue is full so, and takes those of others', async () => {
  await start('scheduling: {lookAhead: 0, queue: {maxCountPerTenant: 1}}');
  const ask = (stageId: string, tenant: string) =>
    levels.scheduling.submit(makeStage({ stageId, workflowId: stageId, tenant, model: 'm' }), 'test', {
      onStart: () => started.push(stageId),
      onReject: (error) => refused.set(stageId, error),
      onRequeue: () => false,
    });
  ask('running', 'a');
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  for (const [stageId, tenant] of [
    ['first', 'a'],
    ['second', 'a'],
    ['other', 'b'],
  ] as const)
    ask(stageId, tenant);
  await settled();
  expect([...refused.keys()]).toEqual(['second']);
  expect(refused.get('second')).toMatchObject({ code: 'queue_full', reason: 'tenant-queue-full' });
  expect(refused.get('second')!.message).toMatch(/this tenant .* Try again later/);
});

it('gives up a stage that hangs with three engines in turn, and not before', async () => {
  await start('scheduling: {lookAhead: 1}');
  const stage = makeStage({ stageId: 'long', workflowId: 'long', model: 'm', arrivalMs: 0, deadlineMs: 60_000 });
  const handle = levels.scheduling.submit(stage, 'test', {
    onStart: () => started.push('long'),
    onReject: (error) => refused.set('long', error),
    onRequeue: () => true,
  });
  for (let hangs = 1; hangs <= 3; hangs++) {
    await vi.waitFor(() => {
      clock.advance(100);
      expect(started.length).toBe(hangs);
    }, SOON);
    for (const path of ['/health', '/v1/models']) engine.faults.set(path, 503);
    await vi.waitFor(() => expect(levels.scheduling.fleet().engines[0]!.state).toBe('down'), SOON);
    expect(refused.size).toBe(0);
    clock.advance(2 * MINUTE_MS);
    await settled();
    engine.faults.clear();
  }
  expect(refused.get('long')).toMatchObject({ code: 'engine_failed', reason: 'hung' });
  handle.finish({ kind: 'engine_failed', httpStatus: 502, durationMs: 1 });
  expect(levels.scheduling.openStages).toBe(0);
});

it('keeps the context of a workflow in a tool call on a server of which only the URL was known', async () => {
  const url = await engine.start();
  const config = parseConfig('{}', 'test.yaml');
  const logger = createLogger({ level: 'silent' });
  const spec = unknownEngineSpec('e', 'n', url);
  const node = { nodeId: 'n', clusterId: 'c', gpus: [], hostMemoryBytes: 0, engines: [spec] };
  levels = createLocalLevels({ config, nodes: [node], clock, wallClock: new WallClock(), logger });
  await levels.start();
  const handle = submit('first', 'interactive');
  await vi.waitFor(() => expect(started).toEqual(['first']), SOON);
  expect(levels.scheduling.fleet().engines[0]).toMatchObject({ kvPoolTokens: 4096, kvKeptTokens: 0 });
  handle.finish({ kind: 'completed', httpStatus: 200, promptTokens: 300, outputTokens: 10, durationMs: 1 });
  await settled();
  expect(levels.scheduling.fleet().engines[0]!.kvKeptTokens).toBeGreaterThan(100);
});

const bystander = () => {
  const url = 'http://127.0.0.1:9';
  return { nodeId: 'm', clusterId: 'far', gpus: [], hostMemoryBytes: 0, engines: [unknownEngineSpec('f', 'm', url)] };
};

async function tick(): Promise<void> {
  await settled();
  clock.advance(1_000);
  await settled();
}

it('tells what waits for a model at once that its last engine leaves the fleet, and lets what runs end', async () => {
  await start('scheduling: {lookAhead: 0}');
  const running = submit('running', 'interactive');
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  submit('waiting', 'interactive');
  await tick();
  let empty = false;
  levels.fleet.leaveEngine('n', 'e0', 'for-good', () => {
    empty = true;
  });
  await tick();
  expect(refused.get('waiting')).toMatchObject({ code: 'model_not_found' });
  expect(levels.scheduling.models()).toEqual([]);
  expect(levels.scheduling.fleet().engines).toMatchObject([{ engineId: 'e0', state: 'leaving', leases: 1 }]);
  running.finish({ kind: 'completed', httpStatus: 200, outputTokens: 10, durationMs: 1 });
  await settled();
  expect(empty).toBe(true);
  await levels.fleet.forgetEngine('n', 'e0');
  await tick();
  expect(levels.scheduling.fleet()).toMatchObject({ engines: [], outcomes: { completed: 1 } });
  expect(Object.keys(levels.scheduling.fleet().queued)).toEqual([]);
});

it('keeps what waits for an engine that is to come back, and has it served by the one that does', async () => {
  await start('scheduling: {lookAhead: 0}');
  const running = submit('running', 'interactive');
  await vi.waitFor(() => expect(started).toEqual(['running']), SOON);
  submit('waiting', 'interactive');
  const [spec] = levels.fleet.engines();
  levels.fleet.leaveEngine('n', 'e0', 'to-return');
  for (let second = 0; second < 20; second++) await tick();
  expect([started, refused.size, levels.scheduling.models().length]).toEqual([['running'], 0, 1]);
  running.finish({ kind: 'completed', httpStatus: 200, outputTokens: 10, durationMs: 1 });
  await settled();
  const closed = levels.fleet.forgetEngine('n', 'e0');
  await Promise.all([closed, levels.fleet.joinEngine({ ...spec!, seats: 2 })]);
  await vi.waitFor(() => expect(started).toEqual(['running', 'waiting']), SOON);
  expect(levels.scheduling.fleet().engines).toMatchObject([{ seats: 2 }]);
});

it('takes in a node of a new cluster; totals do not fall when a node goes, and nothing else of it is left', async () => {
  await start('scheduling: {lookAhead: 0}');
  const second = new FakeVllm({ models: ['m'] });
  const node = bystander();
  await levels.fleet.joinNode({ ...node, engines: [unknownEngineSpec('f', 'm', await second.start())] });
  const handles = ['one', 'two'].map((stageId) => submit(stageId, 'interactive'));
  // The one that finds the larger server taken is parked for a moment.
  await tick();
  await vi.waitFor(() => expect(started.toSorted()).toEqual(['one', 'two']), SOON);
  expect(levels.scheduling.fleet().engines.map(({ engineId, leases }) => [engineId, leases])).toEqual([
    ['e0', 1],
    ['f', 1],
  ]);
  clock.advance(1_000);
  for (const handle of handles) handle.finish({ kind: 'completed', httpStatus: 200, outputTokens: 10, durationMs: 1 });
  await settled();
  const before = levels.scheduling.fleet();
  expect(before.kv.reservedByteSeconds).toBeGreaterThan(0);
  levels.fleet.leaveEngine('m', 'f', 'for-good');
  await levels.fleet.forgetEngine('m', 'f');
  await levels.fleet.leaveNode('m');
  await second.stop();
  const after = levels.scheduling.fleet();
  expect(after.kv).toEqual(before.kv);
  expect(after.engines.map(({ engineId }) => engineId)).toEqual(['e0']);
  expect(Object.keys(levels.state().nodes!)).toEqual(['n']);
});

it('refuses what continues a response of an engine that has left, and waits where the engine is only down', async () => {
  await start('scheduling: {lookAhead: 1}');
  await levels.fleet.joinNode(bystander());
  const follow = (stageId: string, onlyEngineId: string) => {
    const stage = makeStage({ stageId, workflowId: stageId, model: 'm', arrivalMs: clock.nowMs(), onlyEngineId });
    levels.scheduling.submit(stage, 'test', {
      onStart: () => started.push(stageId),
      onReject: (error) => refused.set(stageId, error),
      onRequeue: () => false,
    });
  };
  follow('of-one-that-is-down', 'f');
  follow('of-one-that-is-gone', 'g');
  await tick();
  expect([...refused.keys()]).toEqual(['of-one-that-is-gone']);
  expect(refused.get('of-one-that-is-gone')).toMatchObject({ code: 'not_found' });
});

it('shares the RAM of a host among its nodes', async () => {
  const servers = new Map(['a1', 'b1', 'a2', 'b2'].map((model) => [model, new FakeVllm({ models: [model] })]));
  const urls = new Map<string, string>();
  for (const [model, server] of servers) urls.set(model, await server.start());
  const onNode = (nodeId: string, ...models: string[]) =>
    testNode(
      models.map((model) => testEngine(model, { nodeId, url: urls.get(model)! })),
      { nodeId },
    );
  for (const model of ['b1', 'b2']) servers.get(model)!.level = 1;
  levels = createLocalLevels({
    config: parseConfig('fleet: {nodes: []}', 'test.yaml'),
    nodes: [onNode('n1', 'a1', 'b1'), onNode('n2', 'a2', 'b2')],
    ...{ clock, wallClock: new WallClock(), logger: createLogger({ level: 'silent' }) },
    hostAvailableBytes: () => () => 50 * GiB,
  });
  await levels.start();
  for (const model of ['b1', 'b2'])
    levels.scheduling.submit(makeStage({ stageId: model, workflowId: model, model }), 'test', {
      onStart: () => started.push(model),
      onReject: (error) => refused.set(model, error),
      onRequeue: () => false,
    });
  await vi.waitFor(() => expect(started.toSorted()).toEqual(['b1', 'b2']), SOON);
  expect(['a1', 'a2'].map((model) => servers.get(model)!.level).sort()).toEqual([1, 2]);
  for (const server of servers.values()) await server.stop();
});
