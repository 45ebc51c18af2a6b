import type { RequeueReason } from '../model/fleet.js';

/** What the router in front of a node hears of it. */
export interface NodeListener {
  /** Stops a stage that is to leave its engine, and gives its lease back; false when it cannot. */
  requeue(stageId: string, reason: RequeueReason): boolean;
  /** Views have changed. Told once until they are fetched. */
  changed(): void;
  /** The engine is forgotten. */
  gone(engineId: string): void;
}
