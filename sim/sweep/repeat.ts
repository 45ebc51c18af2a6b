import { blockIdEnd, shiftBlocks } from '../../traces/blocks.js';
import type { TraceWorkflow } from '../../traces/workflow.js';

/**
 * The workload so many times, one after the other on the recorded arrivals: a longer run of the same traffic. Workflows of different rounds are different ones and
 * share no prefix.
 */
export function repeatWorkflows(workflows: readonly TraceWorkflow[], times: number): TraceWorkflow[] {
  const arrivals = workflows.map(({ arrivalMs = 0 }) => arrivalMs);
  const firstMs = arrivals.reduce((first, each) => Math.min(first, each), Number.POSITIVE_INFINITY);
  const lastMs = arrivals.reduce((last, each) => Math.max(last, each), 0);
  const periodMs = ((lastMs - firstMs) * workflows.length) / Math.max(1, workflows.length - 1);
  const blocks = workflows.reduce((end, { rows }) => Math.max(end, blockIdEnd(rows)), 0);
  return Array.from({ length: times }, (_, round) =>
    round === 0
      ? workflows
      : workflows.map((workflow) => copyOf(workflow, String(round), round * periodMs, round * blocks)),
  ).flat();
}

/** The workflow again, `delayMs` later, as another one: under other names, and with a prompt that shares no block with the first. */
export function copyOf(workflow: TraceWorkflow, suffix: string, delayMs: number, blockOffset: number): TraceWorkflow {
  const rename = (id: string) => `${id}~${suffix}`;
  return {
    ...workflow,
    workflowId: rename(workflow.workflowId),
    ...(workflow.arrivalMs !== undefined && { arrivalMs: workflow.arrivalMs + delayMs }),
    rows: workflow.rows.map((row) => ({
      ...shiftBlocks(row, blockOffset),
      request_id: rename(row.request_id),
      ...(row.workflow_id !== undefined && { workflow_id: rename(row.workflow_id) }),
      ...(row.session_id !== undefined && { session_id: rename(row.session_id) }),
      ...(row.timestamp !== undefined && { timestamp: row.timestamp + delayMs }),
      ...(row.wait_for !== undefined && { wait_for: row.wait_for.map(rename) }),
    })),
  };
}
