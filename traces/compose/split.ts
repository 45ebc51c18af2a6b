import type { TraceRow } from '../schema.js';
import { isRoot, type TraceWorkflow } from '../workflow.js';

/**
 * One workflow per user message: what an agent does between two messages of its user is one run. Rows of spawned agents stay with the
 * run that spawned them; links across the cut fall away, the growing context stays.
 */
export function splitAtUserMessages(workflow: TraceWorkflow): TraceWorkflow[] {
  const mainSession = workflow.rows[0]?.session_id;
  const runOf = new Map<string, number>();
  const runs: TraceRow[][] = [];
  for (const row of workflow.rows) {
    const before = row.wait_for ?? [];
    const starts = before.length === 0 || (row.session_id === mainSession && row.last_message_kind === 'user');
    // Rows stand after what they wait for in every source with sessions; the latest run is the one they continue.
    const run = starts ? runs.length : Math.max(...before.map((id) => runOf.get(id) ?? 0));
    runOf.set(row.request_id, run);
    const workflowId = `${workflow.workflowId}.${run + 1}`;
    const kept = before.filter((id) => runOf.get(id) === run);
    const { wait_for: _, delay, ...rest } = row;
    const moved: TraceRow = { ...rest, workflow_id: workflowId, ...(kept.length > 0 && { wait_for: kept }) };
    // The user's thinking lies between two runs, not inside one.
    if (kept.length > 0 && delay !== undefined) moved.delay = delay;
    if (runs[run]) runs[run].push(moved);
    else runs[run] = [moved];
  }
  return runs.map((rows, index) => {
    const { arrivalMs: _, ...rest } = workflow;
    return { ...rest, workflowId: `${workflow.workflowId}.${index + 1}`, rows };
  });
}

/** Cuts rows whose prompt is longer than `limitTokens`, and everything that waits for them. */
export function cutAbove(workflow: TraceWorkflow, limitTokens: number): TraceWorkflow {
  const cut = new Set(workflow.rows.filter((row) => row.input_length > limitTokens).map((row) => row.request_id));
  for (let before = -1; before !== cut.size; ) {
    before = cut.size;
    for (const row of workflow.rows) {
      if (!isRoot(row) && row.wait_for!.some((id) => cut.has(id))) cut.add(row.request_id);
    }
  }
  return { ...workflow, rows: workflow.rows.filter((row) => !cut.has(row.request_id)) };
}
