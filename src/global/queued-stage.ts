import type { HeapEntry } from '../model/heap.js';
import type { Prediction, Stage } from '../model/stage.js';
import type { WorkflowState } from './tracker.js';

/**
 * Where a stage is, as the scheduler sees it:
 * - `queued`: in the order of its class; - `blocked`: was first in line, waits for an engine with room for its KV;
 * - `parked`: bounced by a cluster, takes its place again in a moment; - `dispatched`: with a cluster.
 */
export type StagePlace = 'queued' | 'blocked' | 'parked' | 'dispatched';

/** A stage inside the scheduler, with its handles in every structure it stands in. */
export interface QueuedStage {
  readonly stage: Stage;
  readonly prediction: Prediction;
  readonly workflow: WorkflowState;
  readonly kind: 'interactive' | 'batch';
  /** Kept through bounces, so that a stage does not lose its age. */
  readonly enqueuedAtMs: number;
  readonly expiresAtMs: number;
  place: StagePlace;
  /** When it left for a cluster last, if it has. */
  startedAtMs: number;
  /** When it was blocked, if it is. */
  blockedSinceMs: number;
  orderKey: number;
  bounces: number;
  /** The cluster that it has been dispatched to. */
  clusterId: string | undefined;
  policyEntry: HeapEntry<QueuedStage> | undefined;
  ageEntry: HeapEntry<QueuedStage> | undefined;
  expiryEntry: HeapEntry<QueuedStage> | undefined;
  changeEntry: HeapEntry<QueuedStage> | undefined;
  parkedEntry: HeapEntry<QueuedStage> | undefined;
  /** Index in its model queue's list of waiting stages; −1 when not in it. */
  listIndex: number;
  /** Its workflow has not begun and waits apart, because the policy limits how many are under way. */
  fresh: boolean;
}

export function newQueuedStage(
  stage: Stage,
  prediction: Prediction,
  workflow: WorkflowState,
  kind: QueuedStage['kind'],
  enqueuedAtMs: number,
  expiresAtMs: number,
): QueuedStage {
  return {
    stage,
    prediction,
    workflow,
    kind,
    enqueuedAtMs,
    expiresAtMs,
    place: 'queued',
    startedAtMs: 0,
    blockedSinceMs: 0,
    orderKey: 0,
    bounces: 0,
    clusterId: undefined,
    policyEntry: undefined,
    ageEntry: undefined,
    expiryEntry: undefined,
    changeEntry: undefined,
    parkedEntry: undefined,
    listIndex: -1,
    fresh: false,
  };
}
