import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EmulatedFleet, type FleetEngine, startEmulatedFleet } from '../../src/engine/emulator/fleet.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { GiB } from '../../src/model/units.js';
import { MAESTRO } from './built.js';

const H100 = findGpu('h100-sxm')!;

function engine(engineId: string, model: string, gpuIndices: readonly number[], startAsleep: boolean): FleetEngine {
  const [dtype, maxNumSeqs, maxModelLen] = ['bf16' as const, 64, 8192];
  return { engineId, model, gpuIndices, dtype, kvMemoryBytes: 10 * GiB, maxNumSeqs, maxModelLen, startAsleep };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('an emulated fleet', () => {
  let fleet: EmulatedFleet;
  const urlOf = (engineId: string) => fleet.engines.find((each) => each.engineId === engineId)!.url;
  const post = async (engineId: string, path: string) => {
    const answer = await request(urlOf(engineId) + path, { method: 'POST' });
    await answer.body.dump();
    return answer.statusCode;
  };
  const usedGiB = () => fleet.device('n1').gpus.map((gpu) => Math.round(gpu.usedBytes / GiB));
  const sleeping = async (engineId: string) =>
    ((await (await request(`${urlOf(engineId)}/is_sleeping`)).body.json()) as { is_sleeping: boolean }).is_sleeping;

  beforeAll(async () => {
    fleet = await startEmulatedFleet({
      binPath: MAESTRO,
      timeScale: 100,
      nodes: [
        {
          nodeId: 'n1',
          gpus: [H100, H100],
          hostMemoryBytes: 512 * GiB,
          engines: [
            engine('awake', 'qwen3-32b', [0], false),
            engine('asleep', 'qwen3-14b', [0], true),
            engine('other', 'llama-3.1-8b', [1], false),
          ],
        },
      ],
    });
  });
  afterAll(() => fleet?.stop());

  it('starts what begins awake with its memory, and what begins asleep with a residue', async () => {
    expect(fleet.engines.map(({ engineId, nodeId }) => [engineId, nodeId])).toEqual([
      ['awake', 'n1'],
      ['asleep', 'n1'],
      ['other', 'n1'],
    ]);
    // 61 weights + 10 KV + two residues; 15 + 10 + 1.
    expect(usedGiB()).toEqual([73, 26]);
    expect(await Promise.all(['awake', 'asleep', 'other'].map(sleeping))).toEqual([false, true, false]);
    expect(fleet.device('n1').gpus[0]!.processes.map(({ pid }) => pid)).toEqual(
      expect.arrayContaining(fleet.engines.slice(0, 2).map(({ pid }) => pid)),
    );
  });

  it('has the flags with which vLLM servers are to be started, and a tool parser', async () => {
    const answer = await request(`${urlOf('other')}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'r-1' },
      body: JSON.stringify({
        ...{ model: 'llama-3.1-8b', max_tokens: 8, messages: [{ role: 'user', content: 'hello' }] },
        tools: [{ type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }],
      }),
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['x-request-id']).toBe('r-1');
    expect(await answer.body.json()).toMatchObject({
      usage: { prompt_tokens_details: { cached_tokens: 0 } },
      metrics: { queue_time_ms: expect.any(Number) },
    });
    const { body } = await request(`${urlOf('other')}/server_info?config_format=json`);
    expect(await body.json()).toMatchObject({
      vllm_config: { scheduler_config: { policy: 'priority' }, model_config: { enable_sleep_mode: true } },
    });
  });

  it('lets a sleeper wake only when another has made room', async () => {
    expect(await post('asleep', '/wake_up')).toBe(500);
    expect(usedGiB()[0]).toBe(80);
    expect(await sleeping('asleep')).toBe(true);
    expect(await post('awake', '/sleep?level=1')).toBe(200);
    expect(await post('asleep', '/wake_up')).toBe(200);
    // 28 weights + 10 KV + two residues.
    expect(usedGiB()[0]).toBe(40);
  });

  it('frees the memory of an engine that is killed, and starts it again at its address', async () => {
    const before = fleet.engines.find(({ engineId }) => engineId === 'other')!;
    await fleet.kill('other', 'SIGKILL');
    await expect(request(`${before.url}/health`)).rejects.toThrow();
    await expect.poll(() => usedGiB()[1]).toBe(0);
    const after = await fleet.restart('other');
    expect(after.url).toBe(before.url);
    expect(after.pid).not.toBe(before.pid);
    expect(usedGiB()[1]).toBe(26);
    expect((await request(`${after.url}/health`)).statusCode).toBe(200);
  });

  it('leaves no process behind', async () => {
    const pids = fleet.engines.map(({ pid }) => pid);
    expect(pids.every(alive)).toBe(true);
    await fleet.stop();
    expect(pids.some(alive)).toBe(false);
  });
});

it('says why an engine does not start, and stops the others', async () => {
  const failing = startEmulatedFleet({
    binPath: MAESTRO,
    timeScale: 1,
    nodes: [
      {
        nodeId: 'n1',
        gpus: [H100],
        hostMemoryBytes: 512 * GiB,
        engines: [engine('fits', 'llama-3.1-8b', [0], true), engine('too-big', 'llama-3.3-70b', [0], false)],
      },
    ],
  });
  await expect(failing).rejects.toThrow(/emulated engine too-big ended with code 1.*Free memory on device cuda:0/s);
});

describe('an emulated engine with data-parallel ranks', () => {
  it('takes memory on the GPUs of all, serves on one address, and gives it back asleep', async () => {
    const fleet = await startEmulatedFleet({
      ...{ binPath: MAESTRO, timeScale: 100 },
      nodes: [
        {
          ...{ nodeId: 'n1', gpus: [H100, H100], hostMemoryBytes: 512 * GiB },
          engines: [{ ...engine('ranks', 'llama-3.1-8b', [0, 1], false), dataParallel: 2 }],
        },
      ],
    });
    try {
      const { url } = fleet.engines[0]!;
      const usedGiB = () => fleet.device('n1').gpus.map((gpu) => Math.round(gpu.usedBytes / GiB));
      // Each has all 15 of weights, 10 KV and a residue.
      expect(usedGiB()).toEqual([26, 26]);
      const metrics = await (await request(`${url}/metrics`)).body.text();
      expect(metrics.match(/^vllm:num_requests_running\{engine="[01]"/gm)).toHaveLength(2);
      await (await request(`${url}/sleep?level=1`, { method: 'POST' })).body.dump();
      expect(usedGiB()).toEqual([1, 1]);
    } finally {
      await fleet.stop();
    }
  });
});
