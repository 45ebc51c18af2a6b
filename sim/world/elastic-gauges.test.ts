import { expect, it } from 'vitest';
import { testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

/** The small model could have far more KV memory than the large one beside it leaves. */
const FLEET = `
fleet:
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
        - { id: large, model: mistral-small-24b, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, sleep: false }
        - { id: small, model: llama-3.1-8b, gpus: [0], kvMemory: 60GiB, maxModelLen: 32768, kvcached: { least: 1GiB }, startAsleep: true }
`;

it('an elastic engine has as much in use as it has, whatever part of its pool it may fill', () => {
  const PROMPT_TOKENS = 20_000;
  const row: TraceRow = {
    ...{ request_id: 'r', workflow_id: 'w', timestamp: 0, model: 'llama-3.1-8b' },
    ...{ input_length: PROMPT_TOKENS, output_length: 2_000 },
  };
  const { fleet, counters } = runSimulation(testScenario(FLEET, groupWorkflows([row]), { detail: 'timeline' }));
  expect(counters).toMatchObject({ left: 0, failedMoves: 0 });
  const used = fleet.samples.filter(({ engineId }) => engineId === 'small').map(({ kvUsedTokens }) => kvUsedTokens);
  expect(Math.max(...used)).toBeGreaterThan(PROMPT_TOKENS);
  expect(Math.max(...used)).toBeLessThan(PROMPT_TOKENS + 2_100);
});
