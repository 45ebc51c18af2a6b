import type { Clock, Timer } from '../model/clock.js';

/** Longest delay that Node's timers take; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * The clock of live processes: monotonic, and optionally faster than the wall. With `scale` 10, ten emulated milliseconds
 * pass in each real one; 1 is real time.
 */
export class WallClock implements Clock {
  constructor(readonly scale = 1) {
    if (!(scale > 0 && Number.isFinite(scale))) throw new Error(`WallClock: scale must be positive, got ${scale}`);
  }

  nowMs(): number {
    return performance.now() * this.scale;
  }

  after(delayMs: number, callback: () => void): Timer {
    let remainingMs = Math.max(0, delayMs / this.scale);
    let handle: NodeJS.Timeout;
    const arm = () => {
      const stepMs = Math.min(remainingMs, MAX_DELAY_MS);
      remainingMs -= stepMs;
      handle = setTimeout(remainingMs > 0 ? arm : callback, stepMs);
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  }
}
