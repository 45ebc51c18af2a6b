import type { StepCost } from './step-time.js';

/**
 * The run of steps under way: decode steps only, whose ends have a closed form (`leaping`), or one step of a known length.
 * Steps are counted from the start of the run; the run is over at `endMs`.
 */
export class StepRun {
  startMs = 0;
  endMs = 0;
  steps = 0;
  leaping = false;
  private seqs = 0;
  private contextTokens = 0;

  constructor(protected readonly cost: StepCost) {}

  /** `steps` decode steps of `seqs` sequences that begin with `contextTokens` together. */
  leap(startMs: number, seqs: number, contextTokens: number, steps: number): void {
    this.seqs = seqs;
    this.contextTokens = contextTokens;
    this.begin(startMs, steps);
  }

  protected begin(startMs: number, steps: number): void {
    this.startMs = startMs;
    this.leaping = true;
    this.steps = steps;
    this.endMs = this.endOf(steps);
  }

  /** One step. */
  single(startMs: number, endMs: number): void {
    this.startMs = startMs;
    this.endMs = endMs;
    this.leaping = false;
    this.steps = 1;
  }

  endOf(step: number): number {
    return this.startMs + this.cost.decodeRunMs(this.seqs, this.contextTokens, step);
  }

  /** Whole steps done at `nowMs`, which is before the end. */
  stepsDoneBy(nowMs: number): number {
    if (!this.leaping) return 0;
    let done = 0;
    let open = this.steps;
    while (open - done > 1) {
      const middle = (done + open) >> 1;
      if (this.endOf(middle) <= nowMs) done = middle;
      else open = middle;
    }
    return done;
  }

  /** Lets the run end with the step under way at `nowMs`, or right there when one has just ended. */
  truncate(nowMs: number): void {
    if (!this.leaping) return;
    const done = this.stepsDoneBy(nowMs);
    this.steps = done > 0 && this.endOf(done) === nowMs ? done : done + 1;
    this.endMs = this.endOf(this.steps);
  }
}
