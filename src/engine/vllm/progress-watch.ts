/**
 * Liveness from progress. A deadlocked vLLM answers `/health` with 200 for hours (vLLM issue 39863), so an engine that holds our work and whose counters have
 * not moved for a grace is suspect. Pure: the caller brings the time.
 */
export class ProgressWatch {
  private lastProgress: number | undefined;
  private lastMoveMs: number | undefined;

  constructor(private readonly graceMs: number) {}

  /** Takes a reading; true when the engine is suspect now. */
  observe(progress: number | undefined, outstanding: number, nowMs: number): boolean {
    const moved = progress !== this.lastProgress || outstanding === 0 || this.lastMoveMs === undefined;
    // Without counters there is no telling.
    if (moved || progress === undefined) {
      this.lastProgress = progress;
      this.lastMoveMs = nowMs;
      return false;
    }
    return nowMs - this.lastMoveMs! >= this.graceMs;
  }

  /** The engine has proven itself in another way. */
  reset(): void {
    this.lastMoveMs = undefined;
  }
}
