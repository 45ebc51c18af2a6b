import { describe, expect, it } from 'vitest';
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
});
