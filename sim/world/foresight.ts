import type { ServiceTimeModel } from '../../src/predict/service-time.js';
import type { TraceRow } from '../../traces/schema.js';
import { isRoot, type TraceWorkflow, waitMs } from '../../traces/workflow.js';

/**
 * What a trace knows of the future. The one door to it: only what is named `oracle` is handed this. Times are of calls on a fleet at work, without queueing.
 */
export class WorkflowFuture {
  private readonly tailMs = new Map<string, number>();
  private readonly followers = new Map<string, TraceRow[]>();

  constructor(
    workflow: TraceWorkflow,
    private readonly serviceTime: ServiceTimeModel | undefined,
  ) {
    for (const row of workflow.rows) {
      if (isRoot(row)) continue;
      for (const id of row.wait_for!) {
        const list = this.followers.get(id);
        if (list) list.push(row);
        else this.followers.set(id, [row]);
      }
    }
  }

  serviceMs(row: TraceRow): number {
    const modelled = this.serviceTime?.(row.model ?? 'default', row.input_length, 0, row.output_length);
    return modelled ?? row.input_length * 0.05 + row.output_length * 12;
  }

  /** The longest path from the end of this stage to the end of the workflow. */
  remainingMs(row: TraceRow): number {
    return this.tail(row);
  }

  private tail(from: TraceRow): number {
    // An explicit stack: chains of a thousand stages are real.
    const stack = [from];
    while (stack.length > 0) {
      const row = stack.at(-1)!;
      if (this.tailMs.has(row.request_id)) {
        stack.pop();
        continue;
      }
      const next = this.followers.get(row.request_id) ?? [];
      const missing = next.filter((follower) => !this.tailMs.has(follower.request_id));
      if (missing.length > 0) {
        stack.push(...missing);
        continue;
      }
      stack.pop();
      let longest = 0;
      for (const follower of next) {
        longest = Math.max(
          longest,
          waitMs(follower) + this.serviceMs(follower) + this.tailMs.get(follower.request_id)!,
        );
      }
      this.tailMs.set(row.request_id, longest);
    }
    return this.tailMs.get(from.request_id)!;
  }
}
