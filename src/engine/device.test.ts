import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../model/clock.js';
import type { GpuSpec } from '../model/gpu.js';
import { findGpu } from '../model/gpu-catalogue.js';
import { GB, GiB } from '../model/units.js';
import { EmulatedDevice, HBM_KINDS } from './device.js';
import { DeviceHost } from './emulator/device-host.js';

const H100: GpuSpec = findGpu('h100-sxm')!;

function twoGpus(): EmulatedDevice {
  return new EmulatedDevice({ gpus: [H100, H100], hostMemoryBytes: 256 * GiB });
}

function attach(device: EmulatedDevice, gpuIndices: readonly number[], share = 0): number {
  const result = device.attach('engine', 1, gpuIndices, share);
  if (result.kind !== 'attached') throw new Error(result.message);
  return result.processId;
}

describe('EmulatedDevice memory', () => {
  it('refuses a start when less is free than the asked share, whatever is needed', () => {
    const device = twoGpus();
    const first = attach(device, [0]);
    device.take(first, 'weights', 20 * GiB);
    expect(device.attach('late', 2, [0], 0.92)).toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('is less than desired GPU memory utilization (0.92'),
    });
    expect(device.attach('elsewhere', 2, [1], 0.92).kind).toBe('attached');
    expect(device.attach('modest', 3, [0], 0.7).kind).toBe('attached');
    expect(device.attach('nowhere', 4, [7], 0.1).kind).toBe('refused');
  });

  it('keeps what fitted when memory runs out, and goes on from there', () => {
    const device = twoGpus();
    const [big, late] = [attach(device, [0]), attach(device, [0, 1])];
    device.take(big, 'weights', 50 * GiB);
    expect(device.take(late, 'weights', 40 * GiB)).toEqual({ heldBytes: 40 * GiB, missingBytes: 10 * GiB });
    expect(device.snapshot().gpus.map((gpu) => gpu.usedBytes / GiB)).toEqual([80, 40]);
    device.free(big, 'weights');
    expect(device.take(late, 'weights', 40 * GiB)).toEqual({ heldBytes: 40 * GiB, missingBytes: 0 });
    expect(device.snapshot().gpus.map((gpu) => gpu.usedBytes / GiB)).toEqual([40, 40]);
  });

  it('keeps pinned host memory until the process dies, and counts what is given back', () => {
    const device = twoGpus();
    const [one, other] = [attach(device, [0]), attach(device, [1])];
    expect(device.pin(one, 200 * GiB)).toBe(true);
    expect(device.pin(one, 200 * GiB)).toBe(true);
    expect(device.pin(other, 57 * GiB)).toBe(false);
    device.take(one, 'kv', GiB);
    device.detach(one, 0);
    expect(device.pin(other, 57 * GiB)).toBe(true);
    expect(device.snapshot()).toMatchObject({
      host: { pinnedBytes: 57 * GiB },
      gpus: [
        { usedBytes: 0, releases: 1, processes: [] },
        { releases: 0, processes: [{ processId: other }] },
      ],
    });
  });

  it('never holds more than there is, in any order of events', () => {
    const step = fc.record({
      process: fc.nat(3),
      action: fc.constantFrom('take', 'free', 'die', 'pin'),
      kind: fc.constantFrom(...HBM_KINDS),
      gib: fc.nat(90),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const device = twoGpus();
        const groups = [[0], [1], [0, 1], [0]];
        const ids = groups.map((group) => attach(device, group));
        for (const { process, action, kind, gib } of steps) {
          const id = ids[process]!;
          if (action === 'take') device.take(id, kind, gib * GiB);
          else if (action === 'free') device.free(id, kind);
          else if (action === 'pin') device.pin(id, gib * 4 * GiB);
          else {
            device.detach(id, 0);
            ids[process] = attach(device, groups[process]!);
          }
          const { gpus, host } = device.snapshot();
          for (const gpu of gpus) {
            expect(gpu.usedBytes).toBeLessThanOrEqual(gpu.totalBytes);
            expect(gpu.usedBytes).toBe(gpu.processes.reduce((sum, each) => sum + each.usedBytes, 0));
          }
          expect(host.pinnedBytes).toBeLessThanOrEqual(host.totalBytes);
        }
      }),
    );
  });
});

describe('EmulatedDevice copies', () => {
  /** 50 GB over a link of 50 GB/s. */
  const bytes = 50 * GB;

  it('takes the time of its bytes alone, and twice that when two share a link', () => {
    const device = twoGpus();
    const [a, b] = [attach(device, [0]), attach(device, [0])];
    const first = device.startCopy(a, { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    expect(device.nextCopyEndMs()).toBeCloseTo(1000, 6);
    const second = device.startCopy(b, { direction: 'to-gpu', bytesPerGpu: bytes }, 500);
    // Half of the first is left and shares the link: it ends at 1500; then the second has it alone again.
    expect(device.nextCopyEndMs()).toBeCloseTo(1500, 6);
    expect(device.advance(1500.001)).toEqual([first]);
    expect(device.nextCopyEndMs()).toBeCloseTo(2000, 3);
    expect(device.advance(2001)).toEqual([second]);
    expect(device.nextCopyEndMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('lets both directions and other GPUs run side by side', () => {
    const device = twoGpus();
    const [a, b] = [attach(device, [0]), attach(device, [1])];
    device.startCopy(a, { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    device.startCopy(a, { direction: 'to-host', bytesPerGpu: bytes }, 0);
    device.startCopy(b, { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    expect(device.advance(1001)).toHaveLength(3);
  });

  it('gives four GPUs together no more than the host can feed', () => {
    const device = new EmulatedDevice({
      gpus: [H100, H100, H100, H100],
      hostMemoryBytes: GiB,
      hostTotalBandwidth: 100 * GB,
    });
    device.startCopy(attach(device, [0, 1, 2, 3]), { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    expect(device.nextCopyEndMs()).toBeCloseTo(2000, 6);
  });

  it('drops the copies of a process that dies, and the others go faster', () => {
    const device = twoGpus();
    const [a, b] = [attach(device, [0]), attach(device, [0])];
    const dropped = device.startCopy(a, { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    const kept = device.startCopy(b, { direction: 'to-gpu', bytesPerGpu: bytes }, 0);
    expect(device.nextCopyEndMs()).toBeCloseTo(2000, 6);
    // Half of it was copied beside the other; the rest has the link alone.
    expect(device.detach(a, 1000)).toEqual([dropped]);
    expect(device.nextCopyEndMs()).toBeCloseTo(1500, 6);
    expect(device.advance(1501)).toEqual([kept]);
  });
});

describe('DeviceHost', () => {
  it('ends each copy at its time on the clock, and frees all when a hold closes', async () => {
    const clock = new ManualClock();
    const host = new DeviceHost({ gpus: [H100], hostMemoryBytes: GiB }, clock);
    const [a, b] = [host.open(), host.open()];
    for (const hold of [a, b]) await hold.attach({ name: 'x', pid: 1, gpuIndices: [0], memoryUtilization: 0 });
    const ended: string[] = [];
    void a.copy('to-gpu', 50 * GB).then(() => ended.push('a'));
    void b.copy('to-gpu', 25 * GB).then(() => ended.push('b'));
    const settled = async () => {
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    };
    clock.advance(999);
    await settled();
    expect(ended).toEqual([]);
    clock.advance(2);
    await settled();
    expect(ended).toEqual(['b']);
    clock.advance(500);
    await settled();
    expect(ended).toEqual(['b', 'a']);
    await a.take('weights', GiB);
    a.close();
    expect(host.snapshot().gpus[0]).toMatchObject({ usedBytes: 0 });
    await expect(a.take('kv', 1)).rejects.toThrow(/not attached/);
  });
});
