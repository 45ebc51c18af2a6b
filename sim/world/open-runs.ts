import type { Run } from './runs.js';

/** The workflows under way, in no order: the last takes the place of one that leaves. A set under such churn would keep what has left alive. */
export class OpenRuns {
  private readonly runs: Run[] = [];

  get size(): number {
    return this.runs.length;
  }

  all(): readonly Run[] {
    return this.runs;
  }

  add(run: Run): void {
    run.slot = this.runs.push(run) - 1;
  }

  remove(run: Run): void {
    const last = this.runs.pop();
    if (!last || last === run) return;
    this.runs[run.slot] = last;
    last.slot = run.slot;
  }
}
