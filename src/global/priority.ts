/** One step of an engine priority, milliseconds of order key. */
const RESOLUTION_MS = 10;
/** Priorities of one band (an ordinary or a relegated class) reach this far either way: 29 days of keys. */
const BAND_REACH = 2.5e8;
/** Batch stages stand behind all interactive ones inside an engine too. Twice the two bands of a policy, and int32-safe. */
const BATCH_OFFSET = 1e9;
/** The origin moves with the clock, so that a process that runs for long does not drift out of range. */
const REBASE_AFTER_MS = 20 * 86_400_000;

/**
 * Turns order keys into vLLM's `priority`: an integer, lower is earlier, monotone in the key within an SLO class, in the range of
 * an int32. Only the small look-ahead inside an engine is sorted by it, so keys closer than 10 ms may share a priority.
 */
export class PriorityScale {
  private originMs: number | undefined;

  priority(orderKey: number, keyUnit: 'instant' | 'duration', kind: 'interactive' | 'batch', nowMs: number): number {
    if (this.originMs === undefined || nowMs - this.originMs > REBASE_AFTER_MS) this.originMs = nowMs;
    const steps = Math.round((orderKey - (keyUnit === 'instant' ? this.originMs : 0)) / RESOLUTION_MS);
    // Relegated keys lie one band further, see `RELEGATION_OFFSET_MS`.
    const clamped = Math.max(-BAND_REACH, Math.min(3 * BAND_REACH, steps));
    return clamped + (kind === 'batch' ? BATCH_OFFSET : 0);
  }
}
