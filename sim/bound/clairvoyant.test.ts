import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EDF } from '../../src/global/order/edf.js';
import { FCFS } from '../../src/global/order/fcfs.js';
import { EDF_SJF_LATE_LAST } from '../../src/global/order/late-last.js';
import { ORACLE_POLICIES } from '../../src/global/order/registry.js';
import { SJF } from '../../src/global/order/sjf.js';
import { ONE_SEAT, randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { groupWorkflows, type TraceWorkflow } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';
import type { Arrival, SimScenario } from '../types.js';
import { ClairvoyantBound } from './clairvoyant.js';
import { mostWithin } from './dual.js';

const POLICIES = [FCFS, EDF, SJF, EDF_SJF_LATE_LAST, ...ORACLE_POLICIES];

describe('mostWithin', () => {
  const amount = fc.integer({ min: 0, max: 20 });
  it('is never below what can be chosen', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(amount, amount, amount), { minLength: 1, maxLength: 9 }),
        fc.tuple(amount, amount, amount),
        (items, capacities) => {
          const limits = capacities.map((capacity, resource) => ({
            capacity,
            items: Int32Array.from(items, (_, item) => item),
            amounts: Float64Array.from(items, (item) => item[resource]!),
          }));
          let most = 0;
          for (let chosen = 0; chosen < 2 ** items.length; chosen++) {
            const taken = items.filter((_, item) => chosen & (1 << item));
            const fits = capacities.every(
              (capacity, resource) => taken.reduce((total, item) => total + item[resource]!, 0) <= capacity,
            );
            if (fits) most = Math.max(most, taken.length);
          }
          expect(mostWithin(items.length, limits)).toBeGreaterThanOrEqual(most - 1e-9);
        },
      ),
    );
  });

  it('is exact for equal items', () => {
    const items = Int32Array.from({ length: 10 }, (_, item) => item);
    expect(mostWithin(10, [{ capacity: 7, items, amounts: new Float64Array(10).fill(2) }])).toBeCloseTo(3.5, 9);
  });
});

describe('ClairvoyantBound', () => {
  const boundOf = ({ nodes, arrivals, lookAhead }: SimScenario) => {
    const all = arrivals as readonly Arrival[];
    return new ClairvoyantBound(
      all.map(({ workflow }) => workflow),
      nodes,
      {},
      lookAhead,
    ).attainment(all, 0);
  };

  it('is what one server can do with equal calls that all come at once', () => {
    const rows = Array.from({ length: 60 }, (_, index) => {
      return { request_id: `r${index}`, timestamp: 0, input_length: 1, output_length: 200, model: 'llama-3.1-8b' };
    });
    const scenario = testScenario(
      `${ONE_SEAT}classes:\n  - { name: interactive, kind: interactive, deadline: 30s }\n`,
      [...groupWorkflows(rows)],
    );
    const { workflows } = runSimulation(scenario);
    const served = workflows.filter(({ met }) => met).length / workflows.length;
    expect(served).toBeGreaterThan(0.2);
    expect(served).toBeLessThan(0.8);
    const bound = boundOf(scenario);
    expect(bound).toBeGreaterThanOrEqual(served);
    expect(bound).toBeLessThan(1.1 * served + 1 / 60);
  });

  const overloads: readonly (readonly [string, string, TraceWorkflow[]])[] = [
    ['one seat', ONE_SEAT, only8b(randomWorkflows(40, 5, 700))],
    ['models that take turns', SMALL_FLEET, randomWorkflows(60, 6, 25)],
    ['little KV memory', SMALL_FLEET.replace('kvMemory: 4GiB', 'kvMemory: 1GiB'), randomWorkflows(60, 7, 25)],
  ];
  it.each(overloads)('is below no policy: %s', (_, fleet, workflows) => {
    const short = `${fleet}classes:\n  - { name: interactive, kind: interactive, deadline: 8s }\n  - { name: batch, kind: batch, deadline: 20s }\n`;
    const bound = boundOf(testScenario(short, workflows));
    expect(bound).toBeLessThan(1);
    let best = 0;
    for (const policy of POLICIES) {
      const result = runSimulation(testScenario(short, workflows, { policy }));
      const share = result.workflows.filter(({ met }) => met).length / workflows.length;
      expect(share, policy.name).toBeLessThanOrEqual(bound);
      best = Math.max(best, share);
    }
    expect(best).toBeGreaterThan(0);
  });
});

function only8b(workflows: readonly TraceWorkflow[]): TraceWorkflow[] {
  return groupWorkflows(workflows.flatMap(({ rows }) => rows.map((row) => ({ ...row, model: 'llama-3.1-8b' }))));
}
