import { describe, expect, it } from 'vitest';
import type { TraceRow } from './schema.js';
import { traceStats } from './stats.js';
import { renderStats } from './stats-text.js';
import { criticalPathMs, groupWorkflows, hashRunsOf } from './workflow.js';

const row = (request_id: string, fields: Partial<TraceRow> = {}): TraceRow => ({
  request_id,
  workflow_id: 'w',
  input_length: 100,
  output_length: 10,
  ...fields,
});

/** plan → two workers → join, with a tool and a think time. */
const DIAMOND: TraceRow[] = [
  row('plan', { timestamp: 1000, role: 'planner', template: 't', deadline_ms: 5000 }),
  row('left', { wait_for: ['plan'], tool_wait_ms: 20, role: 'worker', output_length: 30 }),
  row('right', { wait_for: ['plan'], delay: 5, tool_wait_ms: 10, role: 'worker' }),
  row('join', { wait_for: ['left', 'right'], role: 'joiner', class: 'batch' }),
];

describe('groupWorkflows', () => {
  it('takes workflow fields from the first row that has them, and the earliest root as arrival', () => {
    const [workflow, other] = groupWorkflows([
      ...DIAMOND,
      row('late-root', { timestamp: 900 }),
      { request_id: 'x', session_id: 's', input_length: 1, output_length: 1 },
    ]);
    expect(workflow).toMatchObject({
      workflowId: 'w',
      template: 't',
      sloClass: 'batch',
      deadlineMs: 5000,
      arrivalMs: 900,
    });
    expect(workflow?.rows).toHaveLength(5);
    expect(other).toEqual({ workflowId: 's', rows: [expect.objectContaining({ request_id: 'x' })] });
  });
});

describe('criticalPathMs', () => {
  it('is the longest path with think and tool times', () => {
    const [workflow] = groupWorkflows(DIAMOND);
    // plan 10, left 20 + 30, join 10.
    expect(criticalPathMs(workflow!, (stage) => stage.output_length)).toBe(70);
  });

  it('counts the offset of a later root and stands a chain of 20 000', () => {
    const chain = Array.from({ length: 20_000 }, (_, index) =>
      row(`r${index}`, index === 0 ? { timestamp: 0 } : { wait_for: [`r${index - 1}`] }),
    ).reverse();
    const [workflow] = groupWorkflows([...chain, row('late', { timestamp: 50_000 })]);
    expect(criticalPathMs(workflow!, () => 1)).toBe(50_001);
    expect(criticalPathMs(workflow!, () => 3)).toBe(60_000);
  });
});

describe('hashRunsOf', () => {
  it('reads both ways of writing blocks alike', () => {
    const runs = [
      [7, 3],
      [3, 1],
      [4, 1],
    ];
    expect(hashRunsOf(row('a', { hash_ids: [7, 8, 9, 3] }))).toEqual([runs[0], runs[1]]);
    expect(
      hashRunsOf(
        row('a', {
          hash_runs: [
            [7, 3],
            [3, 1],
          ],
        }),
      ),
    ).toEqual([runs[0], runs[1]]);
    expect(hashRunsOf(row('a'))).toEqual([]);
  });
});

describe('traceStats', () => {
  it('says when only some workflows have an arrival', () => {
    const row = { input_length: 1, output_length: 1 };
    const stats = traceStats([
      { ...row, request_id: 'a', timestamp: 0 },
      { ...row, request_id: 'b' },
    ]);
    expect(stats).toMatchObject({ workflows: 2, arrivals: 1 });
    expect(renderStats(stats)).toMatch(/arrivals +over 0 ms, of 1 workflows only/);
  });

  it('counts structure, roles, gaps and fields', () => {
    const stats = traceStats([
      ...DIAMOND,
      row('other', { workflow_id: 'v', timestamp: 4000, derived: ['model:rule'] }),
    ]);
    expect(stats).toMatchObject({ workflows: 2, stages: 5, spanMs: 3000, totalOutputTokens: 70 });
    expect(stats.depth?.max).toBe(3);
    expect(stats.fanOut?.max).toBe(2);
    expect(stats.join?.max).toBe(2);
    expect(stats.waitMs).toMatchObject({ mean: 17.5, p50: 15, max: 20 });
    expect(stats.roles.find(({ role }) => role === 'worker')).toMatchObject({
      stages: 2,
      outputTokens: { p50: 10, p90: 30 },
    });
    expect(stats.fields).toMatchObject({ request_id: 5, delay: 1, tool_wait_ms: 2 });
    expect(stats.derived).toEqual({ 'model:rule': 1 });
    expect(renderStats(stats)).toMatch(/workflows +2\nstages +5\narrivals +over 3\.0 s/);
  });

  it('counts a stage with the class and template of its workflow, on whichever of its rows they stand', () => {
    const stats = traceStats(DIAMOND);
    expect(stats.classes).toEqual({ batch: 4 });
    expect(stats.roles.map(({ template }) => template)).toEqual(['t', 't', 't']);
  });

  it('says nothing about what is not there', () => {
    const stats = traceStats([]);
    expect(stats).toMatchObject({ workflows: 0, stages: 0, inputTokens: undefined, spanMs: undefined });
    expect(renderStats(stats)).toContain('none recorded');
  });
});
