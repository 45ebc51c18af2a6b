import { MINUTE_MS } from './units.js';

/** What is missing below this is rounding: whoever waits as long as he was told must not be told to wait again. */
const ROUNDING = 1e-6;

/**
 * A token bucket: what is taken comes back evenly, `perMinute` in a minute, and no more than that can be taken at once. More may be taken than is left, for what is known only after it
 * has been used; then it takes the longer until something is left. The rate is told with each call, because it changes while the bucket stands. Times are milliseconds of one clock.
 */
export class TokenBucket {
  /** Has not come back yet, as of `atMs`. */
  private taken = 0;

  constructor(private atMs: number) {}

  /** Below 0 where more has been taken than there was. */
  left(perMinute: number, nowMs: number): number {
    this.refill(perMinute, nowMs);
    return perMinute - this.taken;
  }

  /** Milliseconds until so much is left if nobody takes any; of more than ever is, until the bucket is full. 0: it is there. */
  waitMs(amount: number, perMinute: number, nowMs: number): number {
    const missing = Math.min(amount, perMinute) - this.left(perMinute, nowMs);
    return missing > ROUNDING ? (missing * MINUTE_MS) / perMinute : 0;
  }

  /** Takes it whether it is there or not; less than 0 gives back. */
  take(amount: number, perMinute: number, nowMs: number): void {
    this.refill(perMinute, nowMs);
    this.taken = Math.max(0, this.taken + amount);
  }

  private refill(perMinute: number, nowMs: number): void {
    this.taken = Math.max(0, this.taken - ((nowMs - this.atMs) * perMinute) / MINUTE_MS);
    this.atMs = nowMs;
  }
}
