import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { findGpu } from '../../model/gpu-catalogue.js';
import { FakeGpuSource } from './gpu-source-fixture.js';
import { parseGpuCsv } from './nvidia-smi.js';
import { parseGpuXml } from './nvidia-smi-xml.js';
import { TelemetryWatch } from './telemetry-watch.js';

const MIB = 1024 * 1024;
const capture = (name: string) => readFileSync(join(import.meta.dirname, 'testdata/h200-driver-580', name), 'utf8');

describe('outputs of a real nvidia-smi (H200, driver 580)', () => {
  it('gives memory, use and watts of an idle and of a busy GPU', () => {
    expect(parseGpuCsv(capture('idle.csv'))).toMatchObject([
      { index: 0, name: 'NVIDIA H200', usedBytes: 0, totalBytes: 143_771 * MIB, utilization: 0, temperatureC: 36 },
    ]);
    expect(parseGpuCsv(capture('busy.csv'))).toMatchObject([
      { usedBytes: 96_365 * MIB, utilization: 1, temperatureC: 50, powerW: 681.59 },
    ]);
  });

  it('is a card of the catalogue, and a reading that telemetry takes', async () => {
    const readings = parseGpuCsv(capture('busy.csv'));
    const gpu = findGpu(readings[0]!.name!)!;
    expect(gpu.name).toBe('h200-sxm');
    const source = new FakeGpuSource(readings);
    const watch = new TelemetryWatch({ source, clock: new ManualClock(), gpuBytes: [gpu.memoryBytes] });
    await watch.start();
    watch.stop();
    expect(watch.usedBytes()).toEqual([96_365 * MIB]);
  });

  it('tells the memory of each process, as the driver does elsewhere', () => {
    const [gpu] = parseGpuXml(capture('two-engines.xml'));
    expect(gpu).toMatchObject({
      name: 'NVIDIA H200',
      migMode: 'disabled',
      driverVersion: '580.159.04',
      migDevices: [],
    });
    const rows = capture('two-engines-processes.csv').trim().split('\n').slice(1);
    const listed = rows.map((row) => {
      const [pid, name, used] = row.split(', ') as [string, string, string];
      return { pid: Number(pid), name, usedBytes: Number.parseInt(used, 10) * MIB };
    });
    expect(listed).toHaveLength(2);
    expect(gpu!.processes).toEqual(listed);
  });
});
