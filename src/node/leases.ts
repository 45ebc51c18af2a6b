import { ChurnMap } from '../model/churn-map.js';
import type { Demand, Lease } from '../model/fleet.js';
import type { EngineRecord } from './engine-record.js';
import type { HeldLease } from './kv-reservations.js';

/** The leases of a node, by stage: one stage has one at most. A lease's own id tells its stage and how many there were before it. */
export class Leases {
  private readonly byStage = new ChurnMap<HeldLease>();
  private issued = 0;

  constructor(private readonly nodeId: string) {}

  get size(): number {
    return this.byStage.size;
  }

  of(stageId: string): HeldLease | undefined {
    return this.byStage.get(stageId);
  }

  on(engineId: string): HeldLease[] {
    return [...this.byStage.values()].filter(({ lease }) => lease.engineId === engineId);
  }

  /** Are there any on the engine? Also of an earlier process, whose calls are in its reservations no more. */
  areOn(engineId: string): boolean {
    for (const { lease } of this.byStage.values()) if (lease.engineId === engineId) return true;
    return false;
  }

  /** Has this very lease not ended yet? */
  has({ stageId, leaseId }: Lease): boolean {
    return this.byStage.get(stageId)?.lease.leaseId === leaseId;
  }

  issue(record: EngineRecord, demand: Demand, coldStartMs: number, nowMs: number): Lease {
    const { stageId, kvTokens, epoch } = demand;
    const lease: Lease = {
      leaseId: `${stageId}~${this.issued++}`,
      stageId,
      engineId: record.spec.engineId,
      rank: demand.rank,
      nodeId: this.nodeId,
      kvTokens,
      epoch,
      grantedAtMs: nowMs,
      coldStartMs,
    };
    this.byStage.set(stageId, record.reservations.add(demand, lease));
    return lease;
  }

  /** Takes out the lease with this id, or of the stage with this id; undefined where it has ended already. */
  take(id: string): HeldLease | undefined {
    const held = this.byStage.get(id) ?? this.byStage.get(id.slice(0, id.lastIndexOf('~')));
    if (!held || (held.lease.stageId !== id && held.lease.leaseId !== id)) return undefined;
    this.byStage.delete(held.lease.stageId);
    return held;
  }
}
