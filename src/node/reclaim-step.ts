import type { RequeueReason } from '../model/fleet.js';
import type { NodeConfig } from './config.js';
import type { EngineRecord } from './engine-record.js';
import type { HeldLease } from './kv-reservations.js';
import type { RoomContext } from './room.js';

/** What whoever plans the memory of a node's GPUs may look at. */
export interface ReclaimContext extends RoomContext {
  readonly config: NodeConfig;
  /** Does the device itself show room for so many bytes more on the engine's GPUs? */
  readonly roomConfirmed: (record: EngineRecord, bytes: number, nowMs: number) => boolean;
  /** The leases on an engine. */
  readonly leasesOn: (record: EngineRecord) => readonly HeldLease[];
}

/** One thing to do for it. */
export type ReclaimStep =
  | { readonly kind: 'wake' | 'grow' | 'shrink'; readonly record: EngineRecord; readonly kvBytes: number }
  /** `hurried`: a stage waits for the memory. */
  | { readonly kind: 'sleep'; readonly record: EngineRecord; readonly hurried: boolean }
  | {
      readonly kind: 'first-sleep' | 'start' | 'drain' | 'undrain';
      readonly record: EngineRecord;
    }
  /** Of the batch stages later in the order than `afterKey`. */
  | { readonly kind: 'pause-batch'; readonly record: EngineRecord; readonly afterKey: number }
  | {
      readonly kind: 'requeue';
      readonly record: EngineRecord;
      readonly stageIds: readonly string[];
      readonly reason: RequeueReason;
    };
