import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { findGpu } from '../../model/gpu-catalogue.js';
import { GB, GiB } from '../../model/units.js';
import { connectDevice } from './device-client.js';
import { DeviceHost } from './device-host.js';
import { type DeviceServer, serveDevice } from './device-server.js';
import { launchEmulator } from './launch.js';

const H100 = findGpu('h100-sxm')!;

describe('a device shared over a socket', () => {
  let folder: string;
  let clock: ManualClock;
  let host: DeviceHost;
  let server: DeviceServer;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'device-'));
    clock = new ManualClock();
    host = new DeviceHost({ gpus: [H100, H100], hostMemoryBytes: 100 * GiB }, clock);
    server = await serveDevice(host, join(folder, 'd.sock'));
  });
  afterEach(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  const options = () => ({
    model: 'llama-3.1-8b',
    gpu: 'h100-sxm',
    kvCacheMemoryBytes: 4 * GiB,
    maxModelLen: 4096,
    gpuMemoryUtilization: 0.3,
    enableSleepMode: true,
    deviceSocket: server.socketPath,
    gpuIndices: [0],
  });
  const usedGiB = () => Math.round(host.snapshot().gpus[0]!.usedBytes / GiB);
  const hold = async () => {
    const device = await connectDevice(server.socketPath, () => undefined);
    await device.attach({ name: 'other', pid: 2, gpuIndices: [0], memoryUtilization: 0 });
    return device;
  };

  it('answers every call, and frees all when a connection closes', async () => {
    const device = await hold();
    expect(await device.take('weights', 90 * GiB)).toEqual({ heldBytes: 80 * GiB, missingBytes: 10 * GiB });
    expect(await device.pin(200 * GiB)).toBe(false);
    expect(await device.pin(50 * GiB)).toBe(true);
    const copied = device.copy('to-gpu', 50 * GB);
    expect((await device.snapshot()).copies).toBe(1);
    clock.advance(1001);
    await copied;
    await device.free('weights');
    await device.take('kv', GiB);
    expect(usedGiB()).toBe(1);
    device.close();
    await expect.poll(usedGiB).toBe(0);
    await expect(device.take('kv', 1)).rejects.toThrow(/went away/);
  });

  it('holds the memory of a server from its start to its end', async () => {
    const running = await launchEmulator(options(), clock);
    expect(usedGiB()).toBe(20);
    await running.close();
    await expect.poll(usedGiB).toBe(0);
  });

  it('tells a server when the device has gone', async () => {
    const lost = new Promise<void>((resolve) => {
      void launchEmulator(options(), clock, { onDeviceLost: resolve }).then(() => server.close());
    });
    await lost;
    server = await serveDevice(host, join(folder, 'd.sock'));
  });

  it('fails a start without room, and leaves nothing behind', async () => {
    const other = await hold();
    await other.take('weights', 60 * GiB);
    await expect(launchEmulator(options(), clock)).rejects.toThrow(/less than desired GPU memory utilization \(0\.3/);
    // The guard passes a share that is too small; the memory itself then does not.
    const small = { ...options(), gpuMemoryUtilization: 0.01, kvCacheMemoryBytes: 10 * GiB };
    await expect(launchEmulator(small, clock)).rejects.toThrow(/CUDA out of memory/);
    await expect.poll(usedGiB).toBe(60);
  });

  it('fails a start when memory is given back while it profiles', async () => {
    const other = await hold();
    let outcome = 'open';
    launchEmulator({ ...options(), startupMs: 1000 }, clock).then(
      () => {
        outcome = 'started';
      },
      (error: unknown) => {
        outcome = String(error);
      },
    );
    while (outcome === 'open') {
      await other.take('kv', GiB);
      await other.free('kv');
      clock.advance(100);
    }
    expect(outcome).toMatch(/Error in memory profiling/);
  });
});

describe('a device of its own', () => {
  it('is as large as the server needs it', async () => {
    const clock = new ManualClock();
    const running = await launchEmulator({ model: 'llama-3.3-70b', gpu: 'h100-sxm', tp: 4, dtype: 'fp8' }, clock);
    const { gpus } = await running.server.context.device.snapshot();
    expect(gpus).toHaveLength(4);
    expect(new Set(gpus.map((gpu) => gpu.usedBytes)).size).toBe(1);
    await running.close();
  });
});
