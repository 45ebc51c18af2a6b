import { describe, expect, it } from 'vitest';
import { ONE_SEAT, poissonWorkflows, randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { runSimulation } from '../simulation.js';
import { rowOf, runCell, scenarioOf } from './run-cell.js';
import type { SweepCell, SweepWorkload } from './types.js';

const cell: SweepCell = {
  ...{ workload: 'w', deadlineRule: 'class', policy: 'fcfs', load: 1, seed: 1 },
  ...{ placement: 'maestro', reservation: 'predicted', prediction: { kind: 'online' } },
};

function workloadOf(fleet: string, workflows: SweepWorkload['workflows'], warmupShare = 0): SweepWorkload {
  const { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget } = testScenario(fleet, workflows);
  return {
    ...{ name: 'w', workflows, nodes, classes, defaultClass: 'interactive', rttMs: {}, capacitySpeed: 1 },
    ...{ warmupShare, portfolioCpuShare: 0, lookAhead, minResidencyMs, kvOverflowTarget },
  };
}

describe('what a run counts', () => {
  const workload = workloadOf(SMALL_FLEET, randomWorkflows(50, 5), 0.2);
  const scenario = scenarioOf(workload, cell);
  const result = runSimulation(scenario);
  const lastMs = result.workflows.reduce((last, { arrivalMs }) => Math.max(last, arrivalMs), 0);

  it('are the workflows that arrive after the warm-up, and for goodput the time in which they do', () => {
    const counted = result.workflows.filter(({ arrivalMs }) => arrivalMs >= 0.2 * lastMs);
    const met = counted.filter((workflow) => workflow.met).length;
    expect(counted.length).toBeLessThan(50);
    const row = rowOf(workload, cell, result, scenario);
    expect(row).toMatchObject({ workflows: counted.length, attainment: met / counted.length });
    expect(row.goodputPerSecond).toBeCloseTo(met / ((0.8 * lastMs) / 1000), 9);
  });

  it('is a miss that has not ended, in its class too', () => {
    const before = rowOf(workload, cell, result, scenario);
    const late = result.workflows.findIndex(({ arrivalMs, met }) => met && arrivalMs > 0.5 * lastMs);
    const workflows = result.workflows.map((workflow, index) => {
      if (index !== late) return workflow;
      const { endMs: _, ...open } = workflow;
      return { ...open, completed: false, met: false };
    });
    const after = rowOf(workload, cell, { ...result, workflows }, scenario);
    expect(after.workflows).toBe(before.workflows);
    expect(after.attainment).toBeCloseTo(before.attainment - 1 / before.workflows, 9);
    const { sloClass } = workflows[late]!;
    expect(after.attainmentByClass[sloClass]!).toBeLessThan(before.attainmentByClass[sloClass]!);
    expect(after.goodputPerSecond).toBeLessThan(before.goodputPerSecond);
  });
});

it('a run tells what came from caches, what was pushed out, and how evenly tenants fared', () => {
  const workload = workloadOf(SMALL_FLEET, randomWorkflows(20, 5));
  const scenario = scenarioOf(workload, cell);
  const result = runSimulation(scenario);
  const workflows = result.workflows.map((workflow, index) => ({
    ...{ ...workflow, tenant: index < 10 ? 'first' : 'second' },
    met: index < 10 || index >= 15,
  }));
  const counters = { ...result.counters, cachedTokens: 300, promptTokens: 1000 };
  const fleet = { ...result.fleet, preemptions: 7 };
  const row = rowOf(workload, cell, { ...result, workflows, counters, fleet }, scenario);
  expect(row).toMatchObject({ cachedShare: 0.3, preemptions: 7 });
  // Jain's index of all of one tenant's workflows in time and half of the other's.
  expect(row.fairness).toBeCloseTo(1.5 ** 2 / (2 * (1 + 0.25)), 9);
});

describe('KV memory in the report', () => {
  const LIMIT = 8192;
  /** A call alone on an engine: what is held for it by its limit is held as long as it runs. */
  const kvOf = (maxTokens: number | undefined, reservation: SweepCell['reservation'] = 'predicted') => {
    const workflows = poissonWorkflows(2, 60_000, 300, 3).map((workflow) => ({
      ...workflow,
      rows: workflow.rows.map((row) => ({
        ...{ ...row, input_length: 1000 },
        ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
      })),
    }));
    return runCell(workloadOf(ONE_SEAT, workflows), { ...cell, reservation }).kv;
  };

  it('compares with the smaller of max_tokens and the context', () => {
    const [half, whole, none] = [kvOf(3096), kvOf(LIMIT), kvOf(undefined)];
    // Prompt and limit, 4,096 of 8,192 tokens: a limit beyond the context is cut to it. Without one, servers grant 4,096 tokens.
    expect(half.maxTokenByteSeconds / whole.maxTokenByteSeconds).toBeCloseTo(0.5, 2);
    expect(none.maxTokenByteSeconds / whole.maxTokenByteSeconds).toBeCloseTo(5096 / 8192, 2);
    expect(half.usedByteSeconds).toBeCloseTo(whole.usedByteSeconds, 3);
    for (const kv of [half, whole]) {
      expect(kv.usedByteSeconds).toBeGreaterThan(0);
      expect(kv.usedByteSeconds).toBeLessThan(kv.reservedByteSeconds);
      expect(kv.reservedByteSeconds).toBeLessThan(kv.maxTokenByteSeconds);
    }
  });

  it('says that all of the limit is reserved where it is', () => {
    const kv = kvOf(3096, 'max-tokens');
    expect(kv.reservedByteSeconds).toBeCloseTo(kv.maxTokenByteSeconds, -6);
    expect(kv.nodeOverflowRate).toBe(0);
  });
});

describe('cold starts in the report', () => {
  it('are the calls that waited for weights, and how long', () => {
    const workflows = poissonWorkflows(1, 1000, 100, 3).map((workflow) => ({
      ...workflow,
      rows: workflow.rows.map((row) => ({ ...row, model: 'qwen3-32b' })),
    }));
    const { coldStarts } = runCell(workloadOf(SMALL_FLEET, workflows), cell);
    expect(coldStarts.count).toBe(1);
    // 65 GB over PCIe 5, and the model before it has to make room.
    expect(coldStarts.requestSeconds).toBeGreaterThan(1);
    expect(coldStarts.requestSeconds).toBeLessThan(30);
    const awake = poissonWorkflows(1, 1000, 100, 3);
    expect(runCell(workloadOf(SMALL_FLEET, awake), cell).coldStarts).toEqual({ count: 0, requestSeconds: 0 });
  });
});
