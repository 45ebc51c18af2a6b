import { describe, expect, it } from 'vitest';
import { scaleTables } from '../../sim/sweep/scale-table.js';
import { summarise } from '../../sim/sweep/summary.js';
import { runSweep } from '../../sim/sweep/sweep.js';
import { variantName } from '../../sim/sweep/variant-table.js';
import { sweepWorkload } from '../../src/cli/sweep-workload.js';
import { parseConfig } from '../../src/config/load.js';
import { randomWorkflows, SMALL_FLEET } from '../../test/sim-scenario.js';
import { cellsOf } from './cells.js';
import { readSpec } from './spec.js';

const spec = readSpec();
const steady = spec.workloads.find((workload) => !('phases' in workload))!;

describe('cellsOf', () => {
  it('scale: more of the same fleet gets through as much more', async () => {
    const workload = sweepWorkload({
      ...{ name: steady.name, about: '', rows: randomWorkflows(30, 8).flatMap(({ rows }) => rows) },
      ...{ config: parseConfig(SMALL_FLEET, 'fleet'), modelMap: new Map(), capacitySpeed: 1, warmupShare: 0 },
    });
    const one = { ...spec, seeds: { quick: 1, full: 1 }, scale: { load: 0.5, times: [1, 3], policies: ['edf'] } };
    const cells = cellsOf(one, [steady], 'full', undefined, ['scale']);
    const [single, triple] = await runSweep({ workloads: [workload], cells, jobs: 1 });
    expect([single!.scale, triple!.scale]).toEqual([1, 3]);
    expect([triple!.workflows, triple!.stages]).toEqual([3 * single!.workflows, 3 * single!.stages]);
    expect(triple!.goodputPerGpuHour / single!.goodputPerGpuHour).toBeCloseTo(1, 0);
    expect(triple!.attainment).toBeLessThanOrEqual(triple!.bound);
    expect(scaleTables([single!, triple!])[0]!.table.rows.map(({ cells: [size] }) => size)).toEqual(['1×', '3×']);
  });

  it.each(['ablations', 'retention', 'noise', 'placement'] as const)(
    '%s: every variant runs, and has a name of its own',
    async (part) => {
      const workload = sweepWorkload({
        ...{ name: steady.name, about: '', rows: randomWorkflows(12, 8).flatMap(({ rows }) => rows) },
        ...{ config: parseConfig(SMALL_FLEET, 'fleet'), modelMap: new Map(), capacitySpeed: 1, warmupShare: 0 },
      });
      const one = { ...spec, seeds: { quick: 1, full: 1 }, variantLoads: [1], deadlineRules: ['class' as const] };
      const rows = await runSweep({
        workloads: [workload],
        cells: cellsOf(one, [steady], 'full', undefined, [part]),
        jobs: 1,
      });
      expect(rows.every(({ workflows, attainment, bound }) => workflows > 0 && attainment <= bound)).toBe(true);
      const names = summarise(rows).map(variantName);
      expect(names[part === 'noise' ? 2 : 0]).toBe('maestro');
      expect(new Set(names).size).toBe(rows.length);
    },
  );
});
