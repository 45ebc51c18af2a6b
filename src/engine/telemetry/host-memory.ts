import type { Clock } from '../../model/clock.js';
import { SPARE_BYTES } from './memory-limit.js';

/** What is told now and then is told this often: a reading costs a dozen small files. */
export const HOST_MEMORY_EVERY_MS = 1_000;

/** A node, as the RAM of its host is shared out. */
export interface HostNode {
  /** What the host has left now, within the limits that hold for the node. */
  availableBytes(): number;
  /** Bytes of pinned copies that it is making, which a reading of the host may or may not count. */
  pinningBytes(): number;
  /** The host has so much left for copies of the node, those that it is making counted as not begun. */
  hostSeen(availableBytes: number): void;
}

/** RAM of one host, in which its nodes pin the weights of sleeping engines: the node's share is a promise, and others take RAM too. */
export class HostMemory {
  /** When each was told last. */
  private readonly toldAtMs = new Map<HostNode, number>();

  constructor(private readonly wallClock: Clock) {}

  /** Tells a node, unless that was done within so many milliseconds. */
  tell(node: HostNode, everyMs = 0): void {
    const nowMs = this.wallClock.nowMs();
    if (nowMs - (this.toldAtMs.get(node) ?? Number.NEGATIVE_INFINITY) < everyMs) return;
    this.toldAtMs.set(node, nowMs);
    let leftBytes = node.availableBytes() - SPARE_BYTES;
    for (const other of this.toldAtMs.keys()) if (other !== node) leftBytes -= other.pinningBytes();
    node.hostSeen(Math.max(0, leftBytes));
  }

  /** The node has begun a copy: what the others were told is not there any more. */
  begun(node: HostNode): void {
    for (const other of this.toldAtMs.keys()) if (other !== node) this.tell(other);
  }

  leave(node: HostNode): void {
    this.toldAtMs.delete(node);
  }
}
