import { describe, expect, it, vi } from 'vitest';
import { FCFS } from '../src/global/order/fcfs.js';
import type { OrderingPolicy } from '../src/global/order/policy.js';
import { MemoryLedger } from '../src/node/ledger.js';
import { violations } from '../test/seeds/check.js';
import { ONE_SEAT, poissonWorkflows, randomWorkflows, SMALL_FLEET, testScenario } from '../test/sim-scenario.js';
import { runSimulation } from './simulation.js';
import { repeatWorkflows } from './sweep/repeat.js';
import { runCell } from './sweep/run-cell.js';
import type { SweepCell, SweepWorkload } from './sweep/types.js';

const workflows = randomWorkflows(60, 3);
const { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget } = testScenario(SMALL_FLEET, workflows);
const workload: SweepWorkload = {
  ...{ name: 'random', workflows, nodes, classes, defaultClass: 'interactive', rttMs: {} },
  ...{ capacitySpeed: 1, warmupShare: 0, portfolioCpuShare: 0.001, lookAhead, minResidencyMs, kvOverflowTarget },
};
const cell: SweepCell = {
  ...{ workload: 'random', deadlineRule: 'proportional', policy: 'edf', load: 2, seed: 1 },
  ...{ placement: 'maestro', reservation: 'predicted', prediction: { kind: 'online' } },
};

describe('a simulated run', () => {
  it('ends every workflow, keeps causes before effects and leaves nothing behind', () => {
    const result = runSimulation(testScenario(SMALL_FLEET, workflows));
    expect(violations(workflows, result)).toEqual([]);
    expect(result.workflows.every(({ completed }) => completed)).toBe(true);
    expect(result.counters.stages).toBe(workflows.reduce((sum, { rows }) => sum + rows.length, 0));
  });

  it('ends where what is left can never run', () => {
    const wakes = vi.spyOn(MemoryLedger.prototype, 'beginWake').mockReturnValue(false);
    const result = runSimulation(testScenario(SMALL_FLEET, workflows));
    wakes.mockRestore();
    expect(violations(workflows, result).join()).toContain('leases or stages are left');
  });

  it('ends a workflow once whose first calls are all refused at once', () => {
    const [first, other] = poissonWorkflows(2, 1_000, 100, 1);
    const row = { ...first!.rows[0]!, input_length: 1e6 };
    const rows = ['one', 'two', 'three'].map((name) => ({ ...row, request_id: name }));
    const result = runSimulation(testScenario(SMALL_FLEET, [{ ...first!, rows }, other!]));
    expect(result.workflows.map(({ completed, error }) => [completed, error?.split(': ')[1]])).toEqual([
      [false, 'rejected (too-large)'],
      [true, undefined],
    ]);
    expect(violations([{ ...first!, rows }, other!], result)).toEqual([]);
  });

  it('ends no answer before its recorded length where the trace states no limit, and at the limit where it does', () => {
    const [first] = poissonWorkflows(1, 1, 100, 1);
    const answer = (fields: object) => {
      const rows = first!.rows.map((row) => ({ ...row, input_length: 10, output_length: 6000, ...fields }));
      const result = runSimulation({ ...testScenario(SMALL_FLEET, [{ ...first!, rows }]), detail: 'requests' });
      return result.stages[0]!.outputTokens;
    };
    expect(answer({ max_tokens: undefined })).toBe(6000);
    expect(answer({ max_tokens: 100 })).toBe(100);
  });

  it('is the same to the byte when it is run again, and another with another seed', () => {
    const row = JSON.stringify(runCell(workload, cell));
    expect(JSON.stringify(runCell(workload, cell))).toBe(row);
    expect(JSON.stringify({ ...runCell(workload, { ...cell, seed: 2 }), seed: 1 })).not.toBe(row);
  });

  it('lets the self-tuning begin with another ordering, and says what it made of it', () => {
    const tuned = { ...cell, policy: 'maestro' };
    const other = runCell({ ...workload, portfolioCpuShare: 1e-9 }, { ...tuned, prior: 'fcfs' });
    expect(other).toMatchObject({ prior: 'fcfs', tuning: { chosen: 'fcfs' } });
    const { prior: _, tuning, ...rest } = other;
    expect(tuning!.switches).toBe(0);
    expect({ ...rest, policy: 'fcfs' }).toEqual(runCell(workload, { ...cell, policy: 'fcfs' }));
    // With no time for replays it stays with what it begins with.
    const { prior: begun, ...untuned } = runCell({ ...workload, portfolioCpuShare: 0 }, { ...tuned, prior: 'fcfs' });
    expect(begun).toBe('fcfs');
    expect(untuned).toEqual({ ...rest, policy: 'maestro' });
  });

  it('gets through fewer workflows in time as the load rises', () => {
    const at = (load: number) => runCell({ ...workload, workflows: repeatWorkflows(workflows, 4) }, { ...cell, load });
    expect(at(40).attainment).toBeLessThan(at(0.2).attainment);
  });

  it('takes longer by the messages between the levels', () => {
    // A request alone on one engine: under load, a delay can as well reorder a queue to the good. The first one also waits for the first word of capacity.
    const apart = poissonWorkflows(2, 100_000, 100, 1);
    const durationMs = (roundTripMs: number) => {
      const { stages } = runSimulation(testScenario(ONE_SEAT, apart, { rttMs: { local: roundTripMs } }));
      return stages[1]!.endMs - stages[1]!.startMs;
    };
    expect(durationMs(200) - durationMs(0)).toBeCloseTo(200, 6);
  });

  it.each([
    ['fcfs', false],
    ['oracle-fcfs', true],
  ])('under the name %s, gives foresight: %s', (name, expected) => {
    const told: boolean[] = [];
    const watching: OrderingPolicy = {
      ...FCFS,
      name,
      key(input) {
        told.push(input.foresight !== undefined);
        return FCFS.key(input);
      },
    };
    runSimulation(testScenario(SMALL_FLEET, workflows, { policy: watching }));
    expect(told.length).toBeGreaterThan(0);
    expect(told.every((each) => each === expected)).toBe(true);
  });
});
