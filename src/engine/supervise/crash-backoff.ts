export interface CrashBackoffConfig {
  /** Wait after the first failure; doubles with every further one. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** A process that has served for so long is sound again: its failures are forgotten. */
  readonly soundMs: number;
}

export const DEFAULT_CRASH_BACKOFF: CrashBackoffConfig = { firstMs: 2_000, mostMs: 5 * 60_000, soundMs: 10 * 60_000 };

/** How long to wait before a process that keeps ending is started again. Pure: the caller brings the time. */
export class CrashBackoff {
  private failures = 0;
  private servingSinceMs: number | undefined;

  constructor(private readonly config: CrashBackoffConfig = DEFAULT_CRASH_BACKOFF) {}

  /** Failures in a row. */
  get count(): number {
    return this.failures;
  }

  serving(nowMs: number): void {
    this.servingSinceMs ??= nowMs;
  }

  /** The process has ended without being asked to. Returns how long to wait before the next start. */
  failed(nowMs: number): number {
    const { firstMs, mostMs, soundMs } = this.config;
    if (this.servingSinceMs !== undefined && nowMs - this.servingSinceMs >= soundMs) this.failures = 0;
    this.servingSinceMs = undefined;
    const waitMs = Math.min(mostMs, firstMs * 2 ** this.failures);
    this.failures += 1;
    return waitMs;
  }
}
