import type { KeptContext } from '../../model/fleet.js';
import type { StageOutcome } from '../../model/stage.js';
import type { CapacityLedger } from '../capacity-ledger.js';
import type { ModelQueue } from '../model-queue.js';
import type { QueuedStage } from '../queued-stage.js';
import type { Retention } from './retention.js';

/** Waiting stages whose context is kept in some cluster. While memory is what others wait for they go first, for theirs serves nobody else. */
export class ReturningStages {
  private waiting: QueuedStage[] = [];

  constructor(
    private readonly retention: Retention | undefined,
    private readonly capacities: CapacityLedger,
  ) {}

  submitted(queued: QueuedStage, nowMs: number): void {
    if (!this.retention) return;
    this.retention.began(queued.stage, nowMs);
    if (this.retention.clusterOf(queued.stage, nowMs) !== undefined) this.waiting.push(queued);
  }

  /** The stage leaves for an engine: what was kept for it is in use. */
  started(queued: QueuedStage): void {
    this.retention?.started(queued.stage);
  }

  /** Those that leave now, with the cluster that keeps their context; a start there has been taken for each. */
  take(nowMs: number): { readonly queued: QueuedStage; readonly clusterId: string }[] {
    if (this.waiting.length === 0) return [];
    const leaving: { queued: QueuedStage; clusterId: string }[] = [];
    this.waiting = this.waiting.filter((queued) => {
      const { stage, prediction, place } = queued;
      const clusterId = this.retention?.clusterOf(stage, nowMs);
      if (clusterId === undefined || (place !== 'queued' && place !== 'blocked')) return false;
      // As long as memory is no obstacle the order decides.
      if (this.capacities.hasRoom(stage.model, prediction.kvTokens.bound)) return true;
      if (!this.capacities.takeKept(stage.model, clusterId)) return true;
      leaving.push({ queued, clusterId });
      return false;
    });
    return leaving;
  }

  /** What is to be kept of a stage that has ended. */
  ended(queued: QueuedStage, outcome: StageOutcome, queue: ModelQueue, nowMs: number): KeptContext | undefined {
    const { stage, kind, clusterId } = queued;
    if (clusterId === undefined) return undefined;
    // A workflow past its deadline gains nothing by coming back soon, and batch work gives way.
    const late = nowMs > stage.deadlineMs;
    const outranks = queue.size > 0 && (late || (kind === 'batch' && queue.sizeOf('interactive') > 0));
    return this.retention?.ended(stage, outcome, clusterId, { waitMs: queue.expectedWaitMs(nowMs), outranks }, nowMs);
  }
}
