import { describe, expect, it } from 'vitest';
import { SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows, hashRunsOf } from '../../traces/workflow.js';
import { repeatWorkflows } from './repeat.js';
import { scaledWorkload } from './scale.js';
import type { SweepWorkload } from './types.js';

const MODEL = 'llama-3.1-8b';
/** Three of two calls each, which share the first blocks of their prompts. */
const workflows = groupWorkflows(
  [100, 200, 300].flatMap((timestamp, index): TraceRow[] => {
    const id = `w${index}`;
    const common = {
      workflow_id: id,
      session_id: id,
      input_length: 64,
      output_length: 5,
      model: MODEL,
      block_tokens: 16,
    };
    return [
      { ...common, request_id: `${id}/1`, timestamp, hash_runs: [[0, 4]] },
      { ...common, request_id: `${id}/2`, wait_for: [`${id}/1`], hash_runs: [[2 + index, 2]] },
    ];
  }),
);
const blocksOf = (some: typeof workflows) =>
  new Set(
    some.flatMap(({ rows }) =>
      rows.flatMap((row) =>
        hashRunsOf(row).flatMap(([first, count]) => Array.from({ length: count }, (_, n) => first + n)),
      ),
    ),
  );

describe('a workload that is played again', () => {
  const again = repeatWorkflows(workflows, 3);

  it('goes on at the recorded pace', () => {
    expect(again.map(({ arrivalMs }) => arrivalMs)).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900]);
    for (const { arrivalMs, rows } of again) expect(rows[0]!.timestamp).toBe(arrivalMs);
  });

  it('is of other workflows, whose calls wait for their own', () => {
    expect(new Set(again.map(({ workflowId }) => workflowId)).size).toBe(9);
    const rows = again.flatMap((workflow) => workflow.rows);
    expect(new Set(rows.map(({ request_id }) => request_id)).size).toBe(18);
    for (const { workflowId, rows: own } of again) {
      expect(own[1]!.wait_for).toEqual([own[0]!.request_id]);
      expect(own.map((row) => row.workflow_id)).toEqual([workflowId, workflowId]);
    }
  });

  it('shares prompts within a round as recorded, and none with another round', () => {
    const rounds = [0, 1, 2].map((round) => blocksOf(again.slice(3 * round, 3 * round + 3)));
    for (const blocks of rounds) expect(blocks.size).toBe(rounds[0]!.size);
    expect(new Set(rounds.flatMap((blocks) => [...blocks])).size).toBe(3 * rounds[0]!.size);
    expect(again.slice(0, 3)).toEqual(workflows);
  });
});

it('a fleet three times as large has three times the engines, the traffic, and the speed that is load 1', () => {
  const { nodes, classes } = testScenario(SMALL_FLEET, workflows);
  const workload = { name: 'w', workflows, nodes, classes, capacitySpeed: 2 } as unknown as SweepWorkload;
  const scaled = scaledWorkload(workload, 3);
  expect(scaled.capacitySpeed).toBe(6);
  expect(scaled.workflows).toHaveLength(9);
  expect(scaled.nodes).toHaveLength(6);
  const engines = scaled.nodes.flatMap((node) => node.engines);
  expect(new Set(engines.map(({ engineId }) => engineId)).size).toBe(9);
  for (const { nodeId, engines: own } of scaled.nodes) {
    expect(own.every((engine) => engine.nodeId === nodeId)).toBe(true);
  }
  expect(scaledWorkload(workload)).toBe(workload);
});
