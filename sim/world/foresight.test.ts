import { expect, it } from 'vitest';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { WorkflowFuture } from './foresight.js';

const row = (request_id: string, output_length: number, fields: Partial<TraceRow> = {}): TraceRow => ({
  ...{ request_id, workflow_id: 'w', input_length: 1000, output_length, model: 'm' },
  ...fields,
});

it('knows the longest path from the end of a call to that of its workflow, with the time that tools take', () => {
  const rows = [
    row('plan', 10, { timestamp: 0 }),
    row('short', 20, { wait_for: ['plan'], delay: 5 }),
    row('long', 300, { wait_for: ['plan'], tool_wait_ms: 7 }),
    row('join', 4, { wait_for: ['short', 'long'], delay: 1 }),
    row('aside', 100, { wait_for: ['plan'] }),
  ];
  const [workflow] = groupWorkflows(rows);
  const future = new WorkflowFuture(workflow!, (_model, prompt, _cached, output) => prompt / 10 + output);
  expect(rows.map((each) => future.serviceMs(each))).toEqual([110, 120, 400, 104, 200]);
  const left = Object.fromEntries(rows.map((each) => [each.request_id, future.remainingMs(each)]));
  expect(left).toEqual({ plan: 7 + 400 + 1 + 104, short: 1 + 104, long: 1 + 104, join: 0, aside: 0 });
});

it('knows the end of a chain of ten thousand calls', () => {
  const chain = Array.from({ length: 10_000 }, (_, index) =>
    row(`c${index}`, 1, index === 0 ? { timestamp: 0 } : { wait_for: [`c${index - 1}`] }),
  );
  const [workflow] = groupWorkflows(chain);
  expect(new WorkflowFuture(workflow!, () => 2).remainingMs(chain[0]!)).toBe(2 * 9999);
});
