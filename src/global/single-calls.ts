import { LEAVE_SHARE } from './order/load-steps.js';

/** Share of calls that are all there is of their workflow, from which on a queue counts as one of single calls. */
const SINGLE_SHARE = 0.75;
/** Weight of the newest call in the running means, and calls before anything is known. */
const WEIGHT = 0.02;
const LEAST_CALLS = 32;

/**
 * Share of the time until its deadline that half of the calls may spend on an engine, at most. Of single calls under overload, in the order of their length, most were in time with medians of 0.4 to 0.55, under
 * either rule of deadlines (docs/research/order.md); a call needs some of its time for waiting, and those that are longer than the median some more for running.
 */
const SERVICE_SHARE = 0.45;
/** By so much the share of the seats changes with every call that ends: a hundred calls make it a third, or three times as large. */
const STEP = 0.01;
const LEAST_SEAT_SHARE = 1 / 16;

/** What is known of the calls for a model. Plain data, to be handed to a replay. */
export interface SingleCallsState {
  readonly calls: number;
  /** Mean share that a call has in the work of its whole workflow, as far as that is known; of calls that are not the first it is 0. */
  readonly singleShare: number;
  readonly workflows: number;
  /** Mean time from the beginning of a workflow to its deadline, milliseconds. */
  readonly allowedMs: number;
  readonly seatShare: number;
}

/**
 * The interactive calls for one model, where nearly all of them are the only ones of their workflows. Of those it is known what serves most under overload, and of longer workflows it is not.
 *
 * - A queue that takes longer to serve than workflows can wait is a *flood*. Orders by deadline then serve everybody too late; the shortest first keeps most in time.
 * - In a flood only so many calls should run at once that they end in time: each makes the steps of all others longer, and what ends late was run in vain.
 */
export class SingleCalls {
  /** Share of the model's seats, in (0, 1], with which half of the calls are done in {@link SERVICE_SHARE} of their time. After a flood it rises with the calls that end, it does not jump. */
  seatShare = 1;
  private calls = 0;
  private singleShare = 0;
  private workflows = 0;
  private allowedMs = 0;
  /** Is the queue a flood, as of the last {@link updateFlood}? */
  flooded = false;

  /**
   * @param known What another one has learnt.
   * @param learnsFromMs Until then nothing is learnt.
   */
  constructor(
    known?: SingleCallsState,
    private readonly learnsFromMs = Number.NEGATIVE_INFINITY,
  ) {
    if (known) Object.assign(this, known);
  }

  state(): SingleCallsState {
    const { calls, singleShare, workflows, allowedMs, seatShare } = this;
    return { calls, singleShare, workflows, allowedMs, seatShare };
  }

  /** The first call of a workflow has come, with so long until the deadline, and its share of all the work that is expected. */
  began(allowedMs: number, share: number, nowMs: number): void {
    if (nowMs < this.learnsFromMs) return;
    this.workflows += 1;
    this.allowedMs += weight(this.workflows) * (allowedMs - this.allowedMs);
    this.came(share);
  }

  /** A later call of a workflow has come. */
  wentOn(nowMs: number): void {
    if (nowMs >= this.learnsFromMs) this.came(0);
  }

  /** A call has been served in so long, of a workflow that had so long until its deadline. Only where `seatShare` is kept to: it would fall without end. */
  ended(serviceMs: number, allowedMs: number, nowMs: number): void {
    if (nowMs < this.learnsFromMs || !this.areSingle) return;
    const tooMany = this.flooded && serviceMs > SERVICE_SHARE * allowedMs;
    const share = this.seatShare * (tooMany ? 1 - STEP : 1 + STEP);
    this.seatShare = Math.min(1, Math.max(LEAST_SEAT_SHARE, share));
  }

  /** Takes how long the last in line is expected to wait. */
  updateFlood(expectedWaitMs: number): void {
    this.flooded = this.areSingle && expectedWaitMs > (this.flooded ? LEAVE_SHARE : 1) * this.allowedMs;
  }

  private get areSingle(): boolean {
    return this.calls >= LEAST_CALLS && this.singleShare >= SINGLE_SHARE;
  }

  private came(share: number): void {
    this.calls += 1;
    this.singleShare += weight(this.calls) * (share - this.singleShare);
  }
}

/** Of the newest of so many: plain means at first. */
function weight(count: number): number {
  return Math.max(WEIGHT, 1 / count);
}
