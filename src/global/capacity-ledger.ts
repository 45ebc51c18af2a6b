import type { CapacityChanges, ModelCapacity } from '../model/fleet.js';

/** A cluster's capacity for a model, less what has been dispatched since the cluster told it. */
interface Remaining {
  readonly clusterId: string;
  starts: number;
  maxKvTokens: number;
  readyInMs: number;
  coldStarts: number;
  coldReadyInMs: number;
}

/** What the clusters said they can start, kept up to date between their reports. */
export class CapacityLedger {
  private readonly byModel = new Map<string, Remaining[]>();

  /** A cluster's newest report on some of its models, or all; what is known of the others stays. */
  update({ clusterId, models }: CapacityChanges): void {
    for (const capacity of models) {
      const { model } = capacity;
      const rest = this.byModel.get(model);
      const known = rest && inCluster(rest, clusterId);
      if (known) {
        known.starts = capacity.starts;
        known.maxKvTokens = capacity.maxKvTokens;
        known.readyInMs = capacity.readyInMs;
        known.coldStarts = capacity.coldStarts ?? 0;
        known.coldReadyInMs = capacity.coldReadyInMs ?? Number.POSITIVE_INFINITY;
        continue;
      }
      if (rest) rest.push(remainingOf(clusterId, capacity));
      else this.byModel.set(model, [remainingOf(clusterId, capacity)]);
    }
  }

  /** Stages of the model that could start now, whatever their size. */
  starts(model: string): number {
    let starts = 0;
    for (const remaining of this.byModel.get(model) ?? []) starts += remaining.starts;
    return starts;
  }

  /** Could any stage of the model leave now, even if only to wake an engine? */
  hasAny(model: string): boolean {
    for (const remaining of this.byModel.get(model) ?? []) {
      if (remaining.starts > 0 || remaining.coldStarts > 0) return true;
    }
    return false;
  }

  /** Is there room for so much KV at a free seat now? */
  hasRoom(model: string, kvTokens: number): boolean {
    for (const { starts, maxKvTokens } of this.byModel.get(model) ?? []) {
      if (starts > 0 && kvTokens <= maxKvTokens) return true;
    }
    return false;
  }

  /** Takes one start in the cluster that keeps the stage's context, whose memory is not asked for again; false without a free seat there. */
  takeKept(model: string, clusterId: string): boolean {
    const all = this.byModel.get(model);
    const remaining = all && inCluster(all, clusterId);
    if (!remaining || remaining.starts <= 0) return false;
    remaining.starts -= 1;
    return true;
  }

  /**
   * Takes one start for a stage of `kvTokens` and returns the cluster, the one that is ready soonest. Where only sleeping engines
   * are left, one is taken if it would be ready before the queue, whose last stage waits for `expectedWaitMs`, has drained.
   */
  take(model: string, kvTokens: number, expectedWaitMs: number): string | undefined {
    let warm: Remaining | undefined;
    let cold: Remaining | undefined;
    for (const remaining of this.byModel.get(model) ?? []) {
      if (remaining.starts > 0 && kvTokens <= remaining.maxKvTokens) {
        if (!warm || isBetter(remaining, warm)) warm = remaining;
      }
      if (remaining.coldStarts > 0 && remaining.coldReadyInMs < expectedWaitMs) {
        if (!cold || remaining.coldReadyInMs < cold.coldReadyInMs) cold = remaining;
      }
    }
    if (warm) {
      warm.starts -= 1;
      // Which engine takes the stage is not known here, so the roomiest one counts as the one that did, until the next report.
      warm.maxKvTokens -= kvTokens;
      return warm.clusterId;
    }
    if (cold) cold.coldStarts -= 1;
    return cold?.clusterId;
  }
}

function inCluster(all: readonly Remaining[], clusterId: string): Remaining | undefined {
  for (const remaining of all) if (remaining.clusterId === clusterId) return remaining;
  return undefined;
}

function isBetter(a: Remaining, b: Remaining): boolean {
  return a.readyInMs < b.readyInMs || (a.readyInMs === b.readyInMs && a.starts > b.starts);
}

function remainingOf(clusterId: string, capacity: ModelCapacity): Remaining {
  return {
    clusterId,
    starts: capacity.starts,
    maxKvTokens: capacity.maxKvTokens,
    readyInMs: capacity.readyInMs,
    coldStarts: capacity.coldStarts ?? 0,
    coldReadyInMs: capacity.coldReadyInMs ?? Number.POSITIVE_INFINITY,
  };
}
