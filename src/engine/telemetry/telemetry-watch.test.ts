import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import type { GpuReading } from './gpu-source.js';
import { FakeGpuSource } from './gpu-source-fixture.js';
import { checkHost, readHost } from './host.js';
import { TelemetryWatch } from './telemetry-watch.js';

const GIB = 1024 ** 3;

function reading(usedBytes: number, totalBytes = 80 * GIB, index = 0): GpuReading {
  return {
    index,
    uuid: undefined,
    name: undefined,
    usedBytes,
    totalBytes,
    utilization: undefined,
    temperatureC: undefined,
    powerW: undefined,
    xid: undefined,
  };
}

async function watched(next: readonly GpuReading[] | Error) {
  const clock = new ManualClock();
  const source = new FakeGpuSource(next);
  const problems: string[] = [];
  const watch = new TelemetryWatch({
    source,
    clock,
    gpuBytes: [80 * GIB],
    onProblem: (refusal, message) => problems.push(`${refusal}: ${message}`),
  });
  await watch.start();
  const pass = async (ms: number) => {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, source, watch, problems, pass };
}

describe('TelemetryWatch', () => {
  it('tells what the source told, and follows it', async () => {
    const { source, watch, pass } = await watched([reading(5 * GIB)]);
    expect(watch.usedBytes()).toEqual([5 * GIB]);
    source.next = [reading(6 * GIB)];
    await pass(1000);
    expect(watch.usedBytes()).toEqual([6 * GIB]);
    watch.stop();
  });

  it('looks at once when asked, with a look that begins afterwards, and keeps its interval from there', async () => {
    const { source, watch, pass } = await watched([reading(5 * GIB)]);
    let release = () => {};
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const read = source.read.bind(source);
    let looks = 0;
    source.read = async () => {
      looks += 1;
      const seen = await read();
      if (looks === 1) await slow;
      return seen;
    };
    // This one sees what was before.
    await pass(1000);
    source.next = [reading(1 * GIB)];
    const asked = watch.refresh();
    release();
    await asked;
    expect(looks).toBe(2);
    expect(watch.usedBytes()).toEqual([1 * GIB]);
    await pass(999);
    expect(looks).toBe(2);
    await pass(1);
    expect(looks).toBe(3);
    watch.stop();
    await watch.refresh();
    expect(looks).toBe(3);
  });

  const REFUSED: [string, readonly GpuReading[] | Error, string][] = [
    ['a source that fails', new Error('no driver'), 'failed'],
    ['a GPU that is not listed', [reading(0, 80 * GIB, 3)], 'missing-gpu'],
    ['no number', [reading(Number.NaN)], 'not-a-number'],
    ['negative memory', [reading(-1)], 'negative'],
    ['more than there is', [reading(90 * GIB)], 'above-total'],
    ['another card', [reading(GIB, 24 * GIB)], 'wrong-total'],
  ];
  it.each(REFUSED)(
    'refuses and counts %s, and keeps the last good reading while it is fresh',
    async (_name, bad, why) => {
      const { source, watch, problems, pass } = await watched([reading(GIB)]);
      source.next = bad;
      await pass(1000);
      await pass(1000);
      expect(watch.usedBytes()).toEqual([GIB]);
      expect(watch.refused).toMatchObject({ [why]: 2 });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toContain(why);
      await pass(4000);
      expect(watch.usedBytes()).toBeUndefined();
      expect(watch.refused.stale).toBe(1);
      source.next = [reading(2 * GIB)];
      await pass(1000);
      expect(watch.usedBytes()).toEqual([2 * GIB]);
      watch.stop();
    },
  );

  it.each([48, 64, 79, 95, 119, 120])('takes a GPU for failed after Xid %i', async (xid) => {
    const { watch } = await watched([{ ...reading(GIB), xid }]);
    expect(watch.failedGpus()).toEqual([0]);
  });

  it('takes a GPU for failed after a fatal Xid, whatever it tells later, until it tells of none', async () => {
    const { source, watch, pass } = await watched([{ ...reading(GIB), xid: 31 }]);
    expect(watch.failedGpus()).toEqual([]);
    for (const [xid, failed] of [
      [79, [0]],
      [31, [0]],
      [undefined, [0]],
      [0, []],
    ] as const) {
      source.next = [{ ...reading(Number.NaN), xid }];
      await pass(1000);
      expect(watch.failedGpus()).toEqual(failed);
    }
    watch.stop();
  });

  it('lets nothing through that cannot be true, whatever a source tells', async () => {
    const absurd = [Number.NaN, Infinity, -Infinity, -1, 0, 2 ** 63, 81 * GIB, 80 * GIB, GIB, 1e300];
    const { source, watch, pass } = await watched([reading(GIB)]);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...absurd),
        fc.constantFrom(...absurd),
        fc.integer({ min: -1, max: 2 }),
        async (used, total, index) => {
          source.next = [reading(used, total, index)];
          await pass(1000);
          for (const bytes of watch.usedBytes() ?? []) {
            expect(bytes).toBeGreaterThanOrEqual(0);
            expect(bytes).toBeLessThanOrEqual(81 * GIB);
          }
        },
      ),
    );
    watch.stop();
  });

  it('does not ask again while an answer is outstanding', async () => {
    const { watch, source, pass } = await watched([reading(GIB)]);
    let asked = 0;
    source.read = () => {
      asked += 1;
      return new Promise(() => {});
    };
    await pass(1000);
    await pass(10_000);
    expect(asked).toBe(1);
    expect(watch.usedBytes()).toBeUndefined();
    watch.stop();
  });
});

describe('host', () => {
  it('reads this machine', async () => {
    const host = await readHost();
    expect(host.cpuCores).toBeGreaterThan(0);
    expect(host.memoryAvailableBytes).toBeLessThanOrEqual(host.memoryTotalBytes);
  });

  it('refuses what cannot be', () => {
    const good = {
      cpuCores: 1,
      cpuLoad: 0,
      memoryTotalBytes: 10,
      memoryAvailableBytes: 5,
      swapUsedBytes: 0,
      disks: [],
    };
    expect(checkHost(good)).toBe(good);
    expect(() => checkHost({ ...good, memoryTotalBytes: 0 })).toThrow(/0 bytes of memory/);
    expect(() => checkHost({ ...good, memoryAvailableBytes: 11 })).toThrow(/11 bytes available/);
  });
});
