import { describe, expect, it } from 'vitest';
import { testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

/** KV memory for about three of the contexts below. */
const FLEET = `
fleet:
  nodes:
    - id: node
      gpus: { type: h100-sxm, count: 1 }
      engines:
        - { id: e, model: llama-3.1-8b, gpus: [0], kvMemory: 6GiB, maxModelLen: 32768, sleep: false }
`;

const BLOCK_TOKENS = 64;
const AGENTS = 24;
const CALLS = 6;

/** Agents whose contexts grow from 12,800 tokens by 640 at every call, with a tool of half a second in between. */
function agents() {
  const rows: TraceRow[] = [];
  for (let agent = 0; agent < AGENTS; agent++) {
    for (let call = 0; call < CALLS; call++) {
      const blocks = 200 + 10 * call;
      rows.push({
        request_id: `a${agent}/${call}`,
        workflow_id: `a${agent}`,
        template: 'agent',
        role: 'main',
        model: 'llama-3.1-8b',
        input_length: blocks * BLOCK_TOKENS,
        output_length: 60,
        block_tokens: BLOCK_TOKENS,
        hash_runs: [[agent * 1_000, blocks]],
        ...(call === 0 ? { timestamp: agent * 300 } : { wait_for: [`a${agent}/${call - 1}`], tool_wait_ms: 500 }),
      });
    }
  }
  return groupWorkflows(rows);
}

describe('contexts of agents in a tool call', () => {
  const run = (retention: 'none' | 'rent' | 'continuum' | 'progress-ttl') =>
    runSimulation(testScenario(FLEET, agents(), { node: { retention } }));

  it('are found again in the cache where they are kept, and everything ends', () => {
    const none = run('none');
    for (const rule of ['rent', 'continuum', 'progress-ttl'] as const) {
      const { counters, workflows } = run(rule);
      expect(counters.outcomes).toEqual({ completed: AGENTS * CALLS });
      expect(counters).toMatchObject({ left: 0, failedMoves: 0 });
      expect(counters.cachedTokens).toBeGreaterThan(1.5 * none.counters.cachedTokens);
      expect(Math.max(...workflows.map(({ endMs }) => endMs!))).toBeLessThan(
        Math.max(...none.workflows.map(({ endMs }) => endMs!)),
      );
    }
  });
});
