/** Faults of engine processes under a node's agent: group B of the usual ways in which a fleet fails. */
import { afterEach, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type EmulatedFleet, type FleetEngine, startEmulatedFleet } from '../../src/engine/emulator/fleet.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { GiB } from '../../src/model/units.js';
import { testDemand, testEngine, testNode } from '../../src/node/node-fixture.js';
import type { HoldEnd } from '../../src/node/open-holds.js';
import { NodeService } from '../../src/node/service.js';
import { MAESTRO } from './built.js';

const H100 = findGpu('h100-sxm')!;
/** An event may take as long as a busy machine needs. */
const SOON = { timeout: 20_000, interval: 20 };

// Every test starts processes of its own.

let fleet: EmulatedFleet | undefined;
let node: NodeService | undefined;

afterEach(async () => {
  for (const { pid } of fleet?.engines ?? []) {
    try {
      process.kill(pid, 'SIGCONT');
    } catch {}
  }
  await node?.stop();
  await fleet?.stop();
});

function engine(engineId: string, gpu: number, model = 'llama-3.1-8b', startAsleep = false): FleetEngine {
  const [dtype, kvMemoryBytes] = ['bf16' as const, 10 * GiB];
  return { engineId, model, dtype, kvMemoryBytes, gpuIndices: [gpu], maxNumSeqs: 8, maxModelLen: 8192, startAsleep };
}

/** Two engines, each alone on a GPU unless told otherwise, and the agent that watches them; it takes each for 16 GiB of weights. */
async function start(engines = [engine('a', 0), engine('b', 1)]): Promise<NodeService> {
  fleet = await startEmulatedFleet({
    binPath: MAESTRO,
    timeScale: 20,
    nodes: [{ nodeId: 'n1', gpus: [H100, H100], hostMemoryBytes: 512 * GiB, engines }],
  });
  const clock = new WallClock();
  node = new NodeService({
    spec: testNode(
      fleet.engines.map(({ engineId, url }, index) => {
        const { model, gpuIndices } = engines[index]!;
        return testEngine(engineId, { url, model, gpuIndices, weightGiB: 16, kvGiB: 10 });
      }),
    ),
    clock,
    wallClock: clock,
    manager: { retry: { baseMs: 10, maxMs: 50, maxFailures: 3 } },
    monitor: { pollMs: 50, downPollMs: 50, probeTimeoutMs: 1000 },
    logger: { info() {}, warn() {} },
  });
  await node.start();
  const states = engines.map(({ startAsleep }) => (startAsleep ? 'sleeping' : 'running'));
  await vi.waitFor(() => expect(node!.views().map(({ state }) => state)).toEqual(states), SOON);
  return node;
}

function answerOf(service: NodeService, stageId: string, engineId: string): string {
  const result = service.reserve(testDemand(stageId, engineId), (_end: HoldEnd) => undefined);
  return result.kind === 'refuse' ? result.reason : result.kind;
}

const pidOf = (engineId: string) => fleet!.engines.find((each) => each.engineId === engineId)!.pid;

it('a process that is frozen is taken out, holds up nobody else, keeps its memory charged, and serves again when it goes on', async () => {
  const service = await start();
  process.kill(pidOf('a'), 'SIGSTOP');
  await vi.waitFor(() => {
    // The other engine is granted all the while.
    const stageId = `beside-${Math.random()}`;
    expect(answerOf(service, stageId, 'b')).toBe('grant');
    service.release(stageId, {});
    expect(service.view('a')?.state).toBe('down');
  }, SOON);
  expect(answerOf(service, 's1', 'a')).toBe('engine-down');
  expect(service.gpuMemory()[0]!.usedBytes).toBeGreaterThanOrEqual(26 * GiB);
  process.kill(pidOf('a'), 'SIGCONT');
  await vi.waitFor(() => expect(service.view('a')?.state).toBe('running'), SOON);
  expect(answerOf(service, 's2', 'a')).toBe('grant');
});

it('a killed process gets nothing after the first refused connection, its memory is free, and all of a fleet may go and come back', async () => {
  const service = await start();
  expect(answerOf(service, 's1', 'a')).toBe('grant');
  await fleet!.kill('a', 'SIGKILL');
  service.reportUnreachable('a', true);
  expect(answerOf(service, 's2', 'a')).toBe('engine-down');
  expect(service.gpuMemory()[0]!.usedBytes).toBe(0);
  await fleet!.kill('b', 'SIGKILL');
  await vi.waitFor(() => expect(service.view('b')?.state).toBe('down'), SOON);
  expect(service.stats()).toMatchObject({ leases: 1, holds: 0 });
  service.release('s1', {});
  await Promise.all(['a', 'b'].map((engineId) => fleet!.restart(engineId)));
  await vi.waitFor(() => expect(service.views().map(({ state }) => state)).toEqual(['running', 'running']), SOON);
  expect(answerOf(service, 's3', 'a')).toBe('grant');
  expect(answerOf(service, 's4', 'b')).toBe('grant');
});

it('an engine that runs out of memory on every wake is taken out with what was held for it; its neighbour serves on', async () => {
  // 61 and 28 GiB of weights, of which the account knows 16 each; there is no telemetry that knows better.
  const service = await start([engine('a', 0, 'qwen3-32b'), engine('b', 0, 'qwen3-14b', true)]);
  const held = new Promise<HoldEnd>((resolve) => {
    expect(service.reserve(testDemand('s1', 'b'), resolve).kind).toBe('hold');
  });
  expect(await held).toEqual({ kind: 'released', reason: 'engine-failed' });
  expect(service.view('b')?.state).toBe('failed');
  expect(service.stats()).toMatchObject({ holds: 0, moves: { wakes: 0, failures: 3 } });
  expect(answerOf(service, 's2', 'b')).toBe('engine-failed');
  expect(answerOf(service, 's3', 'a')).toBe('grant');
});
