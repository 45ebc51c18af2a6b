import type { WorkflowRecord } from '../report/types.js';
import { runSimulation } from '../simulation.js';
import { repeatWorkflows } from './repeat.js';
import { scenarioOf } from './run-cell.js';
import type { SweepWorkload } from './types.js';

/** Rounds of the workload in a run of the search: the first fills the fleet; the backlog of the last is compared with that of the second. */
const ROUNDS = 4;
/** The backlog counts as bounded while that of the last round is not above so many times that of the second, and a few workflows. */
const GROWTH = 1.25;
const SLACK_WORKFLOWS = 2;
const STEPS = 9;

/**
 * Capacity of the fleet for a workload: the highest speed of arrivals, relative to the trace, at which `fcfs` on the shared placement keeps the backlog bounded, by
 * bisection on a logarithmic scale, to about 1 %.
 */
export function findCapacity(given: SweepWorkload): number {
  const workload = { ...given, workflows: repeatWorkflows(given.workflows, ROUNDS) };
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
  const early = meanBacklog(workflows, lastMs / ROUNDS, (2 * lastMs) / ROUNDS);
  const late = meanBacklog(workflows, lastMs - lastMs / ROUNDS, lastMs);
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
