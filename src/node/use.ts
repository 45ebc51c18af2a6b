/** Times over which uses count, milliseconds: what is going on now, and what is usual. */
const SHORT_MS = 10_000;
const LONG_MS = 180_000;

/** A count that fades: what was seen one time constant ago weighs 1/e. */
class FadingCount {
  private sum = 0;
  private atMs = 0;

  constructor(private readonly constantMs: number) {}

  add(nowMs: number): void {
    this.sum = this.at(nowMs) + 1;
    this.atMs = nowMs;
  }

  /** Events a millisecond. */
  rate(nowMs: number): number {
    return this.at(nowMs) / this.constantMs;
  }

  private at(nowMs: number): number {
    return this.sum === 0 ? 0 : this.sum * Math.exp((this.atMs - nowMs) / this.constantMs);
  }
}

/** How often and how recently an engine has been asked for: recency and frequency in one rate. */
export class EngineUse {
  /** Demands since the start. */
  uses = 0;
  private readonly short = new FadingCount(SHORT_MS);
  private readonly long = new FadingCount(LONG_MS);

  used(nowMs: number): void {
    this.uses += 1;
    this.short.add(nowMs);
    this.long.add(nowMs);
  }

  /** Demands a millisecond that are to be expected: what is usual, or more while it is going on. */
  rate(nowMs: number): number {
    return Math.max(this.short.rate(nowMs), this.long.rate(nowMs));
  }
}
