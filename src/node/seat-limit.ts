import type { EngineCounters } from './actions.js';

export interface SeatLimitConfig {
  /** At most one step down, and one step up, in this time. */
  readonly stepMs: number;
  /** Share of the limit that is left after preemptions. */
  readonly decrease: number;
  /** Requests that may wait inside the engine by our own look-ahead without meaning anything. */
  readonly lookAhead: number;
}

/**
 * How many sequences an engine is given at once: no more than its specification, or the mix of calls that come, says, and no more than its own counters teach. Requests that keep
 * waiting inside while no more of them run show that the engine is full at the number running; preemptions show that it was given too much. While the
 * limit binds and neither is seen, it is probed up again, one seat a step (additive increase, multiplicative decrease). An engine whose KV memory is lent out shows both for want of
 * memory, which has its own account; how many sequences it runs at once is known of it.
 */
export class SeatLimit {
  private learned = Number.POSITIVE_INFINITY;
  private lastStepMs = Number.NEGATIVE_INFINITY;
  private previousRunning = -1;
  private previousWaiting = 0;
  private previousPreemptions: number | undefined;

  /** @param most What the specification or the mix of calls allows; it may change at any time. */
  constructor(
    private readonly most: { readonly seats: number },
    private readonly config: SeatLimitConfig,
  ) {}

  get seats(): number {
    return Math.min(this.most.seats, this.learned);
  }

  /**
   * Takes one reading; `given` is how many sequences we have given the engine. `kvLowered`: since the reading before it has had less KV memory than its pool, by our own hand; then
   * what waits or was preempted inside says nothing of seats. Returns how many preemptions are new.
   */
  observe(counters: EngineCounters, given: number, nowMs: number, kvLowered = false): number {
    const { running, waiting, preemptionsTotal } = counters;
    const before = this.previousPreemptions ?? preemptionsTotal;
    const newPreemptions = Math.max(0, preemptionsTotal - before);
    const { lookAhead, stepMs, decrease } = this.config;
    const stuck = waiting > lookAhead && this.previousWaiting > lookAhead && running <= this.previousRunning;
    if (nowMs - this.lastStepMs >= stepMs) {
      if (newPreemptions > 0) {
        if (!kvLowered) this.setLearned(Math.min(this.seats, Math.max(running, given)) * decrease, nowMs);
      } else if (stuck) {
        if (running < this.seats && !kvLowered) this.setLearned(running, nowMs);
      } else if (this.learned < this.most.seats && given >= this.learned && waiting <= lookAhead) {
        this.setLearned(this.learned + 1, nowMs);
      }
    }
    this.previousRunning = running;
    this.previousWaiting = waiting;
    this.previousPreemptions = preemptionsTotal;
    return newPreemptions;
  }

  private setLearned(seats: number, nowMs: number): void {
    this.learned = Math.max(1, Math.floor(seats));
    this.lastStepMs = nowMs;
  }
}
