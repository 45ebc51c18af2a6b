import { floatsWithRoom } from '../model/flat.js';
import { LruPlaces, NO_PLACE } from '../model/lru-places.js';
import { DEFAULT_TENANT, type Identity } from './identity.js';

/** Remembers when each running workflow arrived, which is where its deadline counts from. Memory is bounded. */
export class WorkflowClock {
  private readonly workflows: LruPlaces<string>;
  /** By place, milliseconds. */
  private arrivals = new Float64Array();
  private deadlines = new Float64Array();
  private lastSeen = new Float64Array();

  constructor(
    capacity: number,
    private readonly idleMs: number,
  ) {
    this.workflows = new LruPlaces(capacity);
  }

  /** When the workflow of this request must be done. Its first request starts the count, and so does one after a long silence. */
  deadlineAtMs(identity: Identity, nowMs: number): number {
    const { tenant, workflowId } = identity;
    // No name holds a line break.
    const key = tenant === DEFAULT_TENANT ? workflowId : `${tenant}\n${workflowId}`;
    const known = this.workflows.get(key);
    const place = known === NO_PLACE ? this.workflows.add(key) : known;
    if (known === NO_PLACE || nowMs - this.lastSeen[place]! > this.idleMs) {
      this.arrivals = floatsWithRoom(this.arrivals, place);
      this.deadlines = floatsWithRoom(this.deadlines, place);
      this.lastSeen = floatsWithRoom(this.lastSeen, place);
      this.arrivals[place] = nowMs;
      this.deadlines[place] = nowMs + identity.deadlineMs;
    } else if (identity.deadlineExplicit) this.deadlines[place] = this.arrivals[place]! + identity.deadlineMs;
    this.lastSeen[place] = nowMs;
    if (identity.sessionFinal) this.workflows.delete(key);
    return this.deadlines[place]!;
  }
}
