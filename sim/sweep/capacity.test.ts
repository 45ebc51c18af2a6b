import { describe, expect, it } from 'vitest';
import { oneSeatEngines, testScenario } from '../../test/sim-scenario.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';
import { findCapacity } from './capacity.js';
import type { SweepWorkload } from './types.js';

const GAP_MS = 10_000;
/** Equal calls that come evenly: servers of one seat carry them as long as they come no faster than they are served. */
const workflows = groupWorkflows(
  Array.from({ length: 40 }, (_, index) => ({
    ...{ request_id: `r${index}`, workflow_id: `w${index}`, timestamp: index * GAP_MS },
    ...{ input_length: 10, output_length: 400, model: 'llama-3.1-8b' },
  })),
);

function workloadOn(engines: number, capacitySpeed: number): SweepWorkload {
  const scenario = testScenario(oneSeatEngines(engines), workflows);
  const { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget } = scenario;
  return {
    ...{ name: 'even', workflows, nodes, classes, defaultClass: 'interactive', rttMs: {}, capacitySpeed },
    ...{ warmupShare: 0, portfolioCpuShare: 0, lookAhead, minResidencyMs, kvOverflowTarget },
  };
}

describe('the capacity of a fleet', () => {
  const { stages } = runSimulation(testScenario(oneSeatEngines(1), workflows));
  const servedMs = stages[20]!.endMs - stages[20]!.startMs;

  it('is the speed at which calls come as fast as they are served, wherever the search begins', () => {
    for (const begin of [1, 40]) {
      const speed = findCapacity(workloadOn(1, begin));
      // A queue that grows by two workflows in a run of 160 still counts as bounded.
      expect((speed * servedMs) / GAP_MS, `begun at ${begin}`).toBeGreaterThan(0.97);
      expect((speed * servedMs) / GAP_MS, `begun at ${begin}`).toBeLessThan(1.06);
    }
  });

  it('is twice as high with twice the servers', () => {
    const ratio = findCapacity(workloadOn(2, 1)) / findCapacity(workloadOn(1, 1));
    expect(ratio).toBeGreaterThan(1.9);
    expect(ratio).toBeLessThan(2.1);
  });
});
