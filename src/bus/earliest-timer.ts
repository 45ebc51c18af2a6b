import type { Clock, Timer } from '../model/clock.js';

/**
 * A timer for whatever is due next. One that is set stays when that moves to a later time, and finds nothing to do when it fires: one made anew at every
 * request would cost more.
 */
export class EarliestTimer {
  private timer: Timer | undefined;
  private setForMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly clock: Clock,
    private readonly fire: () => void,
  ) {}

  /** When it fires, clock milliseconds; Infinity where it is not set. */
  get dueMs(): number {
    return this.setForMs;
  }

  /** Lets it fire at this time, if it would not before. */
  by(atMs: number, nowMs: number): void {
    if (atMs >= this.setForMs) return;
    this.timer?.cancel();
    this.setForMs = atMs;
    this.timer = this.clock.after(atMs - nowMs, () => {
      this.setForMs = Number.POSITIVE_INFINITY;
      this.fire();
    });
  }

  cancel(): void {
    this.timer?.cancel();
  }
}
