import type { OrderPlace } from '../../model/fleet.js';
import type { Prediction, Stage } from '../../model/stage.js';
import type { WorkflowState } from '../tracker.js';

/** The truth about a stage and its workflow, from a trace. Milliseconds on a fleet at work, without queueing. */
export interface Foresight {
  readonly outputTokens: number;
  readonly serviceMs: number;
  readonly remainingMs: number;
}

/** All that an ordering policy may look at. Nothing in it knows the future of the workflow. */
export interface OrderInput {
  readonly stage: Stage;
  /** Of the stage's SLO class. */
  readonly kind: 'interactive' | 'batch';
  /** Its model cannot be awake beside all others of its GPUs: they take turns. */
  readonly takesTurns: boolean;
  readonly prediction: Prediction;
  readonly workflow: WorkflowState;
  /** When the stage entered our queue; it keeps this through bounces. */
  readonly enqueuedAtMs: number;
  readonly nowMs: number;
  /** What only a trace knows; handed to policies named `oracle-*` in the simulator, and to nobody else. */
  readonly foresight?: Foresight | undefined;
  /** How long the model's queue is, as an index into the fixed steps of `load-steps.ts`; 0 is no queue to speak of. */
  readonly loadStep: number;
}

/**
 * Who goes next. Maps a waiting stage to a number, lower first; equal numbers leave in the order in which they came.
 *
 * Rules: pure; constant time; must not depend on other waiting stages; may depend on `nowMs` only if `changesAtMs` says when the
 * key changes next, and on `loadStep` only if `usesLoad` is set. It may order the kinds of classes by rules of their own (`kind`), but not one against the other: that, tenant fairness and
 * the starvation bound sit above the policy.
 */
export interface OrderingPolicy {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** What a key measures: a moment on the clock or a length of time. Needed to turn keys into engine priorities. */
  readonly keyUnit: 'instant' | 'duration';
  readonly usesLoad: boolean;
  /**
   * Neither key nor `changesAtMs` reads `prediction.remainingMs`, nor the load, whose last step is told by it (`SingleCalls`): a run under this policy alone need not work it out. Absent:
   * they may.
   */
  readonly ignoresRemainingWork?: boolean;
  /**
   * Share of a model's KV memory, in (0, 1], that the contexts of workflows under way may fill; when they fill it no other workflow begins. Absent: workflows begin as their keys say.
   */
  readonly kvShare?: number;
  /** Share of a model's seats, in (0, 1], that stages fill; the others stay empty, so that each step is shorter. Absent: all of them. */
  readonly seatShare?: number;
  /** In a flood of single calls, and until it has recovered from one, it fills only as many seats as let calls end in time (`SingleCalls`). */
  readonly fitsSeats?: boolean;
  key(input: OrderInput): number;
  /** The next moment, after `nowMs`, at which the key changes by time alone; Infinity when it does not. Absent: never. */
  changesAtMs?(input: OrderInput): number;
}

/** So many stages of a model may run whatever share of its seats a policy leaves. */
const LEAST_SEATS = 2;

/** How many of the model's seats stages fill under the policy; `fittingShare` of them let calls end in time. */
export function seatsWithin({ seatShare, fitsSeats }: OrderingPolicy, seats: number, fittingShare: number): number {
  const share = seatShare ?? (fitsSeats ? fittingShare : 1);
  return share === 1 ? seats : Math.max(LEAST_SEATS, Math.ceil(share * seats));
}

/** What time alone will make of the place that a stage takes now: it may be held at its engine until then. */
export function keyChangeOf({ key, changesAtMs }: OrderingPolicy, input: OrderInput): OrderPlace['keyChange'] {
  const atMs = changesAtMs?.(input) ?? Number.POSITIVE_INFINITY;
  if (atMs === Number.POSITIVE_INFINITY) return undefined;
  // Written out, since every dispatch comes here and a copy of an object goes through V8's runtime.
  const { stage, kind, takesTurns, prediction, workflow, enqueuedAtMs, foresight, loadStep } = input;
  return {
    atMs,
    orderKey: key({ stage, kind, takesTurns, prediction, workflow, enqueuedAtMs, nowMs: atMs, foresight, loadStep }),
  };
}

/** Context in which a millisecond of KV token-time counts as one of time, so that keys of both kinds are of like size. */
const TYPICAL_CONTEXT_TOKENS = 10_000;

/**
 * KV token-time from the start of this stage to the end of its workflow, in milliseconds of a context of 10 000 tokens: prompt and half of the output for as long as it runs, and the
 * same context for what comes after it.
 */
export function remainingTokenTimeMs(input: OrderInput): number {
  const { stage, prediction } = input;
  const contextTokens = stage.promptTokens + prediction.outputTokens.q50 / 2;
  return (contextTokens / TYPICAL_CONTEXT_TOKENS) * remainingWorkMs(input);
}

/** Expected work of the workflow from the start of this stage to its end, milliseconds on an idle fleet. */
export function remainingWorkMs(input: OrderInput): number {
  return input.prediction.serviceMs + input.prediction.remainingMs;
}
