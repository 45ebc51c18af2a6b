import type { WorkflowRecord } from '../report/types.js';
import { runSimulation } from '../simulation.js';
import { repeatWorkflows } from './repeat.js';
import { scenarioOf } from './run-cell.js';
import type { SweepWorkload } from './types.js';

/** The traffic is played at least so many times on end; the first quarter of the run fills the fleet, the backlog of the last is compared with that of the second. */
const MIN_ROUNDS = 4;
/** A run gets no longer than so many calls for the sake of `minRunMs`. */
const MAX_STAGES = 100_000;
/** The backlog counts as bounded while that of the last quarter is not above so many times that of the second, and a few workflows. */
const GROWTH = 1.25;
const SLACK_WORKFLOWS = 2;
/** The search leaves the given speed by this factor and squares it each time: traffic of the same kind is nearly as heavy as what is known, other traffic may be anything. */
const FIRST_STEP = 1.1;
const MAX_SPEED = 2 ** 20;

export interface CapacitySearch {
  /** Ends when the bounds are within this factor of each other. Default 1.01. */
  readonly precision?: number;
  /** Each speed is played with so many seeds, whose backlogs are added up. Default 1. */
  readonly seeds?: number;
  /** A run lasts at least so long: where models take turns on a GPU, or callers come back after minutes, a backlog needs its time to show that it grows. Default 0. */
  readonly minRunMs?: number;
}

/**
 * Capacity of the fleet for a workload: the highest speed of arrivals, relative to the trace, at which `fcfs` on the shared placement keeps the backlog bounded, by
 * bisection on a logarithmic scale. The search begins at the `capacitySpeed` that is given.
 */
export function findCapacity(workload: SweepWorkload, search: CapacitySearch = {}): number {
  const { precision = 1.01 } = search;
  const bounded = (speed: number): boolean => isBounded(workload, speed, search);
  let low = workload.capacitySpeed;
  let high = workload.capacitySpeed;
  let step = FIRST_STEP;
  if (bounded(low)) {
    do {
      low = high;
      high *= step;
      step *= step;
    } while (high < MAX_SPEED && bounded(high));
  } else {
    do {
      high = low;
      low /= step;
      step *= step;
    } while (low > 1 / MAX_SPEED && !bounded(low));
  }
  while (high / low > precision) {
    const middle = Math.sqrt(low * high);
    if (bounded(middle)) low = middle;
    else high = middle;
  }
  return Number(low.toPrecision(3));
}

function isBounded(given: SweepWorkload, speed: number, { seeds = 1, minRunMs = 0 }: CapacitySearch): boolean {
  const rounds = roundsFor(given, speed, minRunMs);
  const workload = { ...given, workflows: repeatWorkflows(given.workflows, rounds), capacitySpeed: 1 };
  let early = 0;
  let late = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const scenario = scenarioOf(workload, {
      workload: workload.name,
      deadlineRule: 'class',
      policy: 'fcfs',
      load: speed,
      seed,
      placement: 'maestro',
      reservation: 'predicted',
      prediction: { kind: 'online' },
    });
    const { workflows } = runSimulation(scenario);
    const lastMs = workflows.reduce((last, { arrivalMs }) => Math.max(last, arrivalMs), 0);
    early += meanBacklog(workflows, lastMs / 4, lastMs / 2);
    late += meanBacklog(workflows, (3 * lastMs) / 4, lastMs);
  }
  return late <= GROWTH * early + SLACK_WORKFLOWS * seeds;
}

function roundsFor({ workflows }: SweepWorkload, speed: number, minRunMs: number): number {
  const arrivals = workflows.map(({ arrivalMs = 0 }) => arrivalMs).sort((a, b) => a - b);
  const roundMs = (arrivals.at(-1)! - arrivals[0]!) / speed;
  const stages = workflows.reduce((sum, { rows }) => sum + rows.length, 0);
  const wanted = roundMs > 0 ? Math.ceil(minRunMs / roundMs) : MIN_ROUNDS;
  return Math.max(MIN_ROUNDS, Math.min(wanted, Math.floor(MAX_STAGES / Math.max(1, stages))));
}

/** Mean number of workflows that have arrived and not ended, from `fromMs` to `toMs`. */
function meanBacklog(workflows: readonly WorkflowRecord[], fromMs: number, toMs: number): number {
  let presentMs = 0;
  for (const { arrivalMs, endMs = Number.POSITIVE_INFINITY } of workflows) {
    presentMs += Math.max(0, Math.min(endMs, toMs) - Math.max(arrivalMs, fromMs));
  }
  return toMs > fromMs ? presentMs / (toMs - fromMs) : 0;
}
