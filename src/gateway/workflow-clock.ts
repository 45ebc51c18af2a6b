import { LruMap } from '../model/lru-map.js';
import { DEFAULT_TENANT, type Identity } from './identity.js';

interface Workflow {
  deadlineAtMs: number;
  arrivalMs: number;
  lastSeenMs: number;
}

/** Remembers when each running workflow arrived, which is where its deadline counts from. Memory is bounded. */
export class WorkflowClock {
  private readonly workflows: LruMap<string, Workflow>;

  constructor(
    capacity: number,
    private readonly idleMs: number,
  ) {
    this.workflows = new LruMap(capacity);
  }

  /** When the workflow of this request must be done. Its first request starts the count, and so does one after a long silence. */
  deadlineAtMs(identity: Identity, nowMs: number): number {
    const { tenant, workflowId } = identity;
    // No name holds a line break.
    const key = tenant === DEFAULT_TENANT ? workflowId : `${tenant}\n${workflowId}`;
    let workflow = this.workflows.get(key);
    if (!workflow || nowMs - workflow.lastSeenMs > this.idleMs) {
      workflow = { arrivalMs: nowMs, deadlineAtMs: nowMs + identity.deadlineMs, lastSeenMs: nowMs };
      this.workflows.set(key, workflow);
    } else {
      workflow.lastSeenMs = nowMs;
      if (identity.deadlineExplicit) workflow.deadlineAtMs = workflow.arrivalMs + identity.deadlineMs;
    }
    const { deadlineAtMs } = workflow;
    if (identity.sessionFinal) this.workflows.delete(key);
    return deadlineAtMs;
  }
}
