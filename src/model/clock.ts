/** A pending callback of a {@link Clock}. */
export interface Timer {
  /** Stops the callback from running. Safe to call twice and after it ran. */
  cancel(): void;
}

/**
 * The only source of time of live code: a wall clock (monotonic, possibly scaled), in tests a {@link ManualClock}. Decisions are told
 * the time, and the simulator has a loop of its own. Intervals are measured inside one process; only durations cross the wire.
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes back. On a scaled clock these are emulated milliseconds. */
  nowMs(): number;
  /** Runs `callback` once, `delayMs` clock milliseconds from now (at once on the next turn when 0 or less). */
  after(delayMs: number, callback: () => void): Timer;
}

interface ManualTimer extends Timer {
  readonly dueMs: number;
  readonly sequence: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/** A clock that moves only when told to: for tests. Timers fire in order of due time, then of creation. */
export class ManualClock implements Clock {
  private timers: ManualTimer[] = [];
  private sequence = 0;

  constructor(private currentMs = 0) {}

  nowMs(): number {
    return this.currentMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer: ManualTimer = {
      dueMs: this.currentMs + Math.max(0, delayMs),
      sequence: this.sequence++,
      callback,
      cancelled: false,
      cancel() {
        timer.cancelled = true;
      },
    };
    this.timers.push(timer);
    return timer;
  }

  /** Moves the time forward by `deltaMs`, firing every timer that falls due on the way at its own due time. */
  advance(deltaMs: number): void {
    const targetMs = this.currentMs + deltaMs;
    for (;;) {
      let next: ManualTimer | undefined;
      for (const timer of this.timers) {
        if (timer.cancelled || timer.dueMs > targetMs) continue;
        if (!next || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.sequence < next.sequence)) {
          next = timer;
        }
      }
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next && !timer.cancelled);
      this.currentMs = next.dueMs;
      next.callback();
    }
    this.currentMs = targetMs;
  }
}
