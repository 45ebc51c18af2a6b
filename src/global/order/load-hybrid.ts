import { type OrderInput, type OrderingPolicy, remainingWorkMs } from './policy.js';
import { isRelegated, RELEGATION_OFFSET_MS, type Relegation, relegationChangeMs } from './relegation.js';

/** How much a millisecond of remaining work weighs against a millisecond of deadline, by load step. */
const WORK_WEIGHT: readonly number[] = [0, 1, 3, 8, 16];
const RULE: Relegation = { fromStep: 2, optimism: 0.7, onlyUnstarted: true };
/** After so long in the queue a stage counts as due so much earlier. Bounded: unbounded ageing turns into FCFS in overload. */
const WAIT_BOOSTS: readonly { readonly waitedMs: number; readonly boostMs: number }[] = [
  { waitedMs: 10_000, boostMs: 1_000 },
  { waitedMs: 30_000, boostMs: 3_000 },
];

/**
 * The deadline, plus remaining work that weighs in as the queue grows, with gated relegation.
 *
 *     key = deadline + weight(load) × remaining work ÷ value − boost(wait)     (+ offset when relegated)
 *
 * Without a queue it is EDF, which nothing beats while the fleet keeps up. Under load short remaining work goes first, because a
 * slot then saves more workflows. A workflow is relegated only while the queue is long, only if even 0.7 of its expected work
 * would end after its deadline, and only if none of its stages has started: relegating started workflows threw away their prefix
 * caches and cost 14 to 24 points of attainment on recorded workflows with big contexts.
 */
export const LOAD_HYBRID: OrderingPolicy = {
  name: 'load-hybrid',
  summary: 'deadline plus load-weighted remaining work; hopeless workflows that have not started go last under load',
  keyUnit: 'instant',
  usesLoad: true,
  key(input) {
    const { workflow, stage, loadStep } = input;
    const weight = WORK_WEIGHT[Math.min(loadStep, WORK_WEIGHT.length - 1)]! / Math.max(stage.weight, 1e-3);
    const base = workflow.deadlineMs + weight * remainingWorkMs(input) - boostMs(input);
    return isRelegated(input, RULE) ? base + RELEGATION_OFFSET_MS : base;
  },
  changesAtMs(input) {
    const { nowMs, enqueuedAtMs } = input;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { waitedMs } of WAIT_BOOSTS) {
      const atMs = enqueuedAtMs + waitedMs;
      if (atMs > nowMs) nextMs = Math.min(nextMs, atMs);
    }
    nextMs = Math.min(nextMs, relegationChangeMs(input, RULE));
    return nextMs;
  },
};

function boostMs({ nowMs, enqueuedAtMs }: OrderInput): number {
  let boost = 0;
  for (const step of WAIT_BOOSTS) if (nowMs - enqueuedAtMs >= step.waitedMs) boost = step.boostMs;
  return boost;
}
