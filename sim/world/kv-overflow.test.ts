import { describe, expect, it, vi } from 'vitest';
import { NodeManager } from '../../src/node/manager.js';
import { testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

const FLEET = `
fleet:
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 64GiB
      engines:
        - { id: e, model: llama-3.1-8b, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, sleep: false }
`;

/** A call every 3 s; one in fifteen answers fifteen times as long as the others, for some 20 s, while others come and go. */
const CALLS = groupWorkflows(
  Array.from({ length: 300 }, (_, index): TraceRow => {
    const id = `r${index}`;
    const output_length = index % 15 === 14 ? 3_000 : 200;
    const model = 'llama-3.1-8b';
    return { request_id: id, workflow_id: id, timestamp: index * 3_000, input_length: 2_000, output_length, model };
  }),
);

describe('KV memory that is promised', () => {
  it('is not less than what is in use, although calls outgrow their bounds', () => {
    const { fleet, counters } = runSimulation(testScenario(FLEET, CALLS));
    expect(counters.left).toBe(0);
    expect(fleet.kv!.nodeOverflowRate).toBeLessThan(0.01);
  });

  it('is told to be less where it is, as the share of readings', () => {
    const { gauges } = NodeManager.prototype;
    const fifth = vi.spyOn(NodeManager.prototype, 'gauges').mockImplementation(function (this: NodeManager, engineId) {
      const found = gauges.call(this, engineId);
      return found && { ...found, heldKvTokens: 0.2 * found.heldKvTokens };
    });
    const { fleet } = runSimulation(testScenario(FLEET, CALLS));
    fifth.mockRestore();
    expect(fleet.kv!.nodeOverflowRate).toBeGreaterThan(0.5);
    expect(fleet.kv!.nodeOverflowRate).toBeLessThanOrEqual(1);
  });
});
