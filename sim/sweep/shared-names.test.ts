import { describe, expect, it } from 'vitest';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { shareNames } from './shared-names.js';
import type { SweepWorkload } from './types.js';

describe('shareNames', () => {
  it('changes nothing that a run can see', () => {
    const { nodes, classes } = testScenario(SMALL_FLEET, []);
    const workload: SweepWorkload = {
      ...{ name: 'w', workflows: randomWorkflows(20, 3, 60), nodes, classes, defaultClass: 'interactive', rttMs: {} },
      ...{ capacitySpeed: 1, warmupShare: 0, lookAhead: 4, minResidencyMs: 0, kvOverflowTarget: 0.05 },
      portfolioCpuShare: 0.001,
    };
    expect(shareNames([workload])).toEqual([workload]);
    expect(shareNames([])).toEqual([]);
  });
});
