/** Weight of the newest call in the error of late, about the last hundred, and in the error that is usual, about the last thousand. */
const LATE_WEIGHT = 0.01;
const USUAL_WEIGHT = 0.001;
/** Calls before anything counts as usual. */
const MIN_CALLS = 500;
/** The error of late must be so much above the usual one: chance moves a mean of a hundred calls by a tenth. */
const DRIFT_RATIO = 1.3;

/** Tells when predictions have begun to err more than they used to: agents got other prompts, or other work came. */
export class DriftWatch {
  private calls = 0;
  private late = 0;
  private usual = 0;

  /** Learns what was said of a call that has ended; answers whether the calls have drifted. What is found once becomes the usual. */
  observe(saidTokens: number, outputTokens: number): boolean {
    const error = Math.abs(Math.log1p(saidTokens) - Math.log1p(outputTokens));
    this.calls += 1;
    this.late += Math.max(LATE_WEIGHT, 1 / this.calls) * (error - this.late);
    this.usual += Math.max(USUAL_WEIGHT, 1 / this.calls) * (error - this.usual);
    if (this.calls < MIN_CALLS || this.late < DRIFT_RATIO * this.usual) return false;
    this.calls = 0;
    return true;
  }
}
