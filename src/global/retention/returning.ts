import type { KeptContext } from '../../model/fleet.js';
import type { Stage, StageOutcome } from '../../model/stage.js';
import type { CapacityLedger } from '../capacity-ledger.js';
import type { ModelQueue } from '../model-queue.js';
import type { QueuedStage } from '../queued-stage.js';
import type { Retention } from './retention.js';

/** Of one model, those that wait, in the order in which they came. */
interface Returning {
  readonly waiting: Map<string, QueuedStage>;
  /** No KV bound among them is larger. */
  largestKvTokens: number;
}

/** Stages of one model that are looked at in one call; those behind them go in their order meanwhile. */
const MOST_LOOKED_AT = 128;

/**
 * Waiting stages whose context is kept in some cluster. While memory is what others wait for they go first, for theirs serves nobody else. They are looked at only where a seat is free and
 * memory is short, and not all of them, so a long queue costs little.
 */
export class ReturningStages {
  private readonly byModel = new Map<string, Returning>();

  constructor(
    private readonly retention: Retention | undefined,
    private readonly capacities: CapacityLedger,
  ) {}

  submitted(queued: QueuedStage, nowMs: number): void {
    if (!this.retention) return;
    const { stage, prediction } = queued;
    this.retention.began(stage, nowMs);
    if (this.retention.clusterOf(stage, nowMs) === undefined) return;
    let returning = this.byModel.get(stage.model);
    if (!returning) {
      returning = { waiting: new Map(), largestKvTokens: 0 };
      this.byModel.set(stage.model, returning);
    }
    returning.waiting.set(stage.stageId, queued);
    returning.largestKvTokens = Math.max(returning.largestKvTokens, prediction.kvTokens.bound);
  }

  /** The stage leaves for an engine: what was kept for it is in use. */
  started({ stage }: QueuedStage): void {
    this.retention?.started(stage);
    this.gone(stage);
  }

  /** The stage waits no longer. */
  gone({ model, stageId }: Stage): void {
    const returning = this.byModel.get(model);
    if (returning?.waiting.delete(stageId) && returning.waiting.size === 0) this.byModel.delete(model);
  }

  /** The first that leaves now, with the cluster that keeps its context, where a start has been taken for it; undefined when none does (any more). */
  takeNext(nowMs: number): { readonly queued: QueuedStage; readonly clusterId: string } | undefined {
    for (const [model, { waiting, largestKvTokens }] of this.byModel) {
      // As long as memory is no obstacle the order decides.
      if (this.capacities.starts(model) === 0 || this.capacities.hasRoom(model, largestKvTokens)) continue;
      let looked = 0;
      for (const queued of waiting.values()) {
        if (looked++ === MOST_LOOKED_AT) break;
        const { stage, prediction, place } = queued;
        if (place !== 'queued' && place !== 'blocked') continue;
        if (this.capacities.hasRoom(model, prediction.kvTokens.bound)) continue;
        const clusterId = this.retention?.clusterOf(stage, nowMs);
        if (clusterId === undefined) this.gone(stage);
        else if (this.capacities.takeKept(model, clusterId)) return { queued, clusterId };
      }
    }
    return undefined;
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
