import type { Rng } from '../../src/model/rng.js';
import type { EventLoop } from '../event-loop.js';
import type { LinkFaults } from '../types.js';

/**
 * One direction between two levels: a stream, as the levels of a real installation share one. Messages arrive in the order in which they were sent; a lost one is
 * sent again, and all behind it wait; one whose acknowledgement was lost arrives twice.
 */
export class Link {
  private lastArrivalMs = 0;

  constructor(
    private readonly loop: EventLoop,
    private readonly oneWayMs: number,
    private readonly faults: LinkFaults | undefined,
    private readonly rng: Rng,
  ) {}

  /** What is sent has arrived: a call does as well as a message. */
  get immediate(): boolean {
    return this.oneWayMs === 0 && !this.faults;
  }

  send(deliver: () => void): void {
    const { loop, oneWayMs, faults, rng } = this;
    if (!faults) {
      if (oneWayMs === 0) deliver();
      else loop.after(oneWayMs, deliver);
      return;
    }
    let delayMs = oneWayMs + faults.jitterMs * rng.next();
    while (rng.next() < faults.lossRate) delayMs += faults.resendMs;
    this.lastArrivalMs = Math.max(this.lastArrivalMs, loop.nowMs + delayMs);
    loop.at(this.lastArrivalMs, deliver);
    if (rng.next() < faults.duplicateRate) loop.at(this.lastArrivalMs, deliver);
  }
}
