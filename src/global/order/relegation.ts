import type { OrderInput } from './policy.js';
import { remainingWorkMs } from './policy.js';

/** Puts a relegated stage behind all others and keeps the order among the relegated (about 58 days). */
export const RELEGATION_OFFSET_MS = 5e9;

/** When workflows that cannot be in time any more go behind the others. */
export interface Relegation {
  /** Load step from which it is done; below it everybody can still be served. */
  readonly fromStep: number;
  /** Share of the expected work that must fit before the deadline; below 1 because a false "too late" is the costly error. */
  readonly optimism: number;
  /** Spares workflows that have started: they would lose their prefix caches. */
  readonly onlyUnstarted: boolean;
}

/** From this moment on even an optimistic estimate ends after the deadline. */
export function hopelessFromMs(input: OrderInput, { optimism }: Relegation): number {
  return input.workflow.deadlineMs - optimism * remainingWorkMs(input);
}

export function isRelegated(input: OrderInput, relegation: Relegation): boolean {
  if (input.loadStep < relegation.fromStep) return false;
  if (relegation.onlyUnstarted && input.workflow.dispatchedStages > 0) return false;
  return input.nowMs >= hopelessFromMs(input, relegation);
}

/** The next moment at which relegation alone changes the key. */
export function relegationChangeMs(input: OrderInput, relegation: Relegation): number {
  if (relegation.onlyUnstarted && input.workflow.dispatchedStages > 0) return Number.POSITIVE_INFINITY;
  const atMs = hopelessFromMs(input, relegation);
  return atMs > input.nowMs ? atMs : Number.POSITIVE_INFINITY;
}
