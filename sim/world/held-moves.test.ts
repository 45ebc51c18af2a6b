import { expect, it } from 'vitest';
import { testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

/** A small model on two nodes, asleep on both beside a large one. */
const FLEET = `
fleet:
  nodes:
    - id: a
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
        - { id: a-large, model: mistral-small-24b, gpus: [0], kvMemory: 12GiB, maxModelLen: 8192 }
        - { id: a-small, model: llama-3.1-8b, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, startAsleep: true }
    - id: b
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
        - { id: b-large, model: qwen3-32b, gpus: [0], kvMemory: 4GiB, maxModelLen: 8192 }
        - { id: b-small, model: llama-3.1-8b, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, startAsleep: true }
`;

let calls = 0;
function call(model: string, atS: number, outputTokens: number): TraceRow {
  const request_id = `${model} ${calls++}`;
  const lengths = { input_length: 100, output_length: outputTokens };
  return { request_id, workflow_id: request_id, timestamp: 1_000 * atS, model, ...lengths };
}

it('goes to another engine of its model once that has room, in place of waiting on for the one where it is held', () => {
  // The large model of node a is busy all the time, that of node b at the beginning.
  const rows = Array.from({ length: 12 }, (_, index) => call('mistral-small-24b', 10 * index, 1_000));
  rows.push(call('qwen3-32b', 0, 1_000), call('llama-3.1-8b', 1, 50), call('llama-3.1-8b', 60, 50));
  const { stages, counters } = runSimulation(
    testScenario(FLEET, groupWorkflows(rows), {
      node: { prefetch: false },
      minResidencyMs: 300_000,
      detail: 'timeline',
    }),
  );
  expect(counters).toMatchObject({ left: 0, failedMoves: 0 });
  const small = stages.filter(({ model }) => model === 'llama-3.1-8b');
  expect(small.map(({ engine }) => engine)).toEqual(['b-small', 'b-small']);
  // The second call wakes the engine of node b at 60 s, and the first follows within the time of a look.
  const first = small.find(({ startMs }) => startMs === 1_000)!;
  expect(first.endMs).toBeGreaterThan(60_000);
  expect(first.endMs).toBeLessThan(70_000);
});
