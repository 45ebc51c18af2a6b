import { describe, expect, it } from 'vitest';
import { groupWorkflows } from '../../traces/workflow.js';
import type { SimRow } from '../types.js';
import { openRun } from './runs.js';
import { stageOf } from './stages.js';

const ROW: SimRow = { request_id: 'r', workflow_id: 'w', timestamp: 0, input_length: 1_000, output_length: 50 };

function described(row: SimRow, kind: 'interactive' | 'batch' = 'interactive') {
  const [workflow] = groupWorkflows([row]);
  const run = openRun({ atMs: 0, workflow: workflow!, sloClass: 'c', deadlineMs: 1_000 });
  return stageOf(run, row, 's0', { weight: 2, kind }, 4_000, 0);
}

describe('a simulated stage', () => {
  it('has a limit of its own where the trace has one, and the room that the context leaves', () => {
    expect(described(ROW)).toMatchObject({ maxTokens: 3_000, outputLimited: undefined });
    // The room that is left, not the length of the answer, which nobody knows.
    expect(described({ ...ROW, output_length: 4_500 })).toMatchObject({ maxTokens: 3_000 });
    expect(described({ ...ROW, max_tokens: 200 })).toMatchObject({ maxTokens: 200, outputLimited: true });
  });

  it('is streamed unless it is batch, so that batch may be started again', () => {
    for (const row of [ROW, { ...ROW, temperature: 0.5 }]) {
      expect(described(row).features.stream).toBe(true);
      expect(described(row, 'batch').features.stream).toBe(false);
    }
  });

  it('is as the gateway has seen it, where a replay tells', () => {
    const seen = { ...ROW, max_tokens: 2_500, outputLimited: false, stream: true };
    const { maxTokens, outputLimited, features } = described(seen, 'batch');
    expect([maxTokens, outputLimited, features.stream]).toEqual([2_500, undefined, true]);
  });
});
