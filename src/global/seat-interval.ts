/** Weight of the newest interval in the running mean. */
const WEIGHT = 0.1;

/** How often a seat of a model comes free while stages are waiting for one: what a place in the queue costs in time. */
export class SeatInterval {
  private meanMs: number | undefined;
  private lastMs: number | undefined;

  /** A stage of the model has ended. `waiting`: others were waiting for its seat, so the interval tells the rate of service. */
  ended(nowMs: number, waiting: boolean): void {
    if (this.lastMs !== undefined && waiting) {
      const intervalMs = nowMs - this.lastMs;
      this.meanMs = this.meanMs === undefined ? intervalMs : this.meanMs + WEIGHT * (intervalMs - this.meanMs);
    }
    this.lastMs = waiting ? nowMs : undefined;
  }

  /** Expected interval, milliseconds; 0 while nothing is known. Grows while nothing ends. */
  expectedMs(nowMs: number): number {
    if (this.meanMs === undefined) return 0;
    return Math.max(this.meanMs, this.lastMs === undefined ? 0 : nowMs - this.lastMs);
  }
}
