import { describe, expect, it } from 'vitest';
import { runSimulation } from '../../sim/simulation.js';
import { ONE_SEAT, poissonWorkflows, testScenario } from '../../test/sim-scenario.js';
import { parseConfig } from '../config/load.js';
import { DEFAULT_SCHEDULER_CONFIG } from '../global/scheduler-types.js';
import { simRules } from './sim-rules.js';

const rulesFor = (scheduling: string) => simRules(parseConfig(`scheduling: ${scheduling}`, 'fleet'));

describe('simRules', () => {
  it('has what the file says of the queue and the nodes', () => {
    const { queue, node, ignored } = rulesFor(
      '{ queue: { maxCount: 7, maxBytes: 1MiB }, starvationBound: 2m, interactiveStarvationBound: 9s, weights: value, retention: none, prefetch: false, firstSleep: false }',
    );
    expect(queue).toEqual({
      ...{ maxCount: 7, maxCountPerTenant: 7, maxBytes: 1 << 20 },
      ...{ batchOverdueMs: 120_000, interactiveOverdueMs: 9_000 },
    });
    expect(node).toEqual({ weights: 'value', retention: 'none', prefetch: false, firstSleep: false });
    expect(ignored).toEqual([]);
  });

  it('is what the benchmark runs with, where the file says nothing', () => {
    const { batchOverdueMs, interactiveOverdueMs } = rulesFor('{}').queue;
    expect({ batchOverdueMs, interactiveOverdueMs }).toEqual({
      batchOverdueMs: DEFAULT_SCHEDULER_CONFIG.batchOverdueMs,
      interactiveOverdueMs: DEFAULT_SCHEDULER_CONFIG.interactiveOverdueMs,
    });
  });

  it('names what runs do not follow', () => {
    const { node, ignored } = rulesFor('{ policy: fcfs, portfolio: { interval: 20s } }');
    expect(node).toEqual({});
    expect(ignored).toEqual([
      'scheduling.policy (--policy says which are compared)',
      expect.stringContaining('scheduling.portfolio.interval ('),
    ]);
  });

  it('takes the share of a core that the file gives to replays; without one sweeps have a smaller share of their own', () => {
    expect(rulesFor('{ portfolio: { cpuShare: 0.2 } }')).toMatchObject({ portfolioCpuShare: 0.2, ignored: [] });
    expect(rulesFor('{ portfolio: { cpuShare: 0 } }').portfolioCpuShare).toBe(0);
    expect(rulesFor('{}').portfolioCpuShare).toBeUndefined();
  });
});

describe('a run under the rules of a fleet file', () => {
  const flood = poissonWorkflows(40, 20, 400, 3);
  const outcomes = (scheduling: string) =>
    runSimulation(testScenario(ONE_SEAT, flood, { queue: rulesFor(scheduling).queue })).counters.outcomes;

  it('turns away what the queue has no room for, as the live system does', () => {
    expect(outcomes('{}')).toEqual({ completed: 40 });
    expect(outcomes('{ queue: { maxCount: 10, maxCountPerTenant: 99 } }')['rejected:queue-full-count']).toBeGreaterThan(
      20,
    );
    expect(outcomes('{ queue: { maxCountPerTenant: 10 } }')['rejected:tenant-queue-full']).toBeGreaterThan(20);
  });
});
