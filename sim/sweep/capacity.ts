import type { WorkflowRecord } from '../report/types.js';
import { runSimulation } from '../simulation.js';
import { scenarioOf } from './run-cell.js';
import type { SweepWorkload } from './types.js';

/** The backlog counts as bounded while it is, late in the run, not above so many times what it was early on, and a few workflows. */
const GROWTH = 1.5;
const SLACK_WORKFLOWS = 3;
const STEPS = 9;

/**
 * Capacity of the fleet for a workload: the highest speed of arrivals, relative to the trace, at which `fcfs` on the shared placement keeps the backlog bounded, by
 * bisection on a logarithmic scale, to about 1 %.
 */
export function findCapacity(workload: SweepWorkload): number {
  let low = 1;
  let high = 1;
  if (bounded(workload, 1)) {
    do high *= 2;
    while (high < 2 ** 20 && bounded(workload, high));
    low = high / 2;
  } else {
    do low /= 2;
    while (low > 2 ** -20 && !bounded(workload, low));
    high = 2 * low;
  }
  for (let step = 0; step < STEPS && high / low > 1.01; step++) {
    const middle = Math.sqrt(low * high);
    if (bounded(workload, middle)) low = middle;
    else high = middle;
  }
  return Number(low.toPrecision(3));
}

function bounded(workload: SweepWorkload, speed: number): boolean {
  const scenario = scenarioOf(
    { ...workload, capacitySpeed: 1 },
    {
      workload: workload.name,
      deadlineRule: 'class',
      policy: 'fcfs',
      load: speed,
      seed: 1,
      placement: 'maestro',
      reservation: 'predicted',
      prediction: { kind: 'online' },
    },
  );
  const { workflows } = runSimulation(scenario);
  const lastMs = workflows.reduce((last, { arrivalMs }) => Math.max(last, arrivalMs), 0);
  const early = meanBacklog(workflows, 0.25 * lastMs, 0.5 * lastMs);
  const late = meanBacklog(workflows, 0.75 * lastMs, lastMs);
  return late <= GROWTH * early + SLACK_WORKFLOWS;
}

/** Mean number of workflows that have arrived and not ended, from `fromMs` to `toMs`. */
export function meanBacklog(workflows: readonly WorkflowRecord[], fromMs: number, toMs: number): number {
  let presentMs = 0;
  for (const { arrivalMs, endMs = Number.POSITIVE_INFINITY } of workflows) {
    presentMs += Math.max(0, Math.min(endMs, toMs) - Math.max(arrivalMs, fromMs));
  }
  return toMs > fromMs ? presentMs / (toMs - fromMs) : 0;
}
