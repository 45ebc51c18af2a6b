import { describe, expect, it } from 'vitest';
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
