/** The two limits of every queue in the house. */
export interface QueueLimits {
  readonly maxCount: number;
  readonly maxBytes: number;
}

/**
 * Counts what a queue holds against its limits, by count and by bytes. The queue itself may be any structure; what matters is
 * that nothing enters without {@link tryAdd} and nothing leaves without {@link remove}.
 */
export class QueueBudget {
  private heldCount = 0;
  private heldBytes = 0;

  constructor(readonly limits: QueueLimits) {}

  get count(): number {
    return this.heldCount;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  /** Takes room for one item of `bytes`; returns the limit that stands in the way, or undefined when there was room. */
  tryAdd(bytes: number): 'count' | 'bytes' | undefined {
    if (this.heldCount + 1 > this.limits.maxCount) return 'count';
    if (this.heldBytes + bytes > this.limits.maxBytes) return 'bytes';
    this.heldCount += 1;
    this.heldBytes += bytes;
    return undefined;
  }

  /** Takes room without asking, for an item that was inside before and comes back; the limits may be passed by such items. */
  add(bytes: number): void {
    this.heldCount += 1;
    this.heldBytes += bytes;
  }

  remove(bytes: number): void {
    this.heldCount -= 1;
    this.heldBytes -= bytes;
    if (this.heldCount < 0 || this.heldBytes < 0) throw new Error('QueueBudget: more was removed than was added');
  }
}
