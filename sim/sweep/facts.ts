import { fleetDollarsPerHour } from './gpu-price.js';
import { shapesOf } from './run-cell.js';
import type { Phase, SweepWorkload } from './types.js';

/** What a workload and its fleet are, for readers. */
export interface WorkloadFacts {
  readonly name: string;
  readonly about: string;
  readonly workflows: number;
  readonly stages: number;
  readonly templates: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly gpus: number;
  /** What they cost, for goodput per dollar; absent where one of them has no stated price (`gpu-price.ts`). */
  readonly dollarsPerHour?: number;
  readonly engines: number;
  readonly models: readonly string[];
  /** Speed of the trace's arrivals that is load 1. */
  readonly capacitySpeed: number;
  /** Workflows an hour that arrive at load 1. */
  readonly capacityPerHour: number;
  /** Where the traffic changes: load 1 is then what its phases say. */
  readonly phases?: readonly Phase[];
}

export function factsOf(workload: SweepWorkload & { readonly about: string }): WorkloadFacts {
  const { name, about, workflows, nodes, capacitySpeed } = workload;
  const dollarsPerHour = fleetDollarsPerHour(nodes);
  const templates = new Map<string, number>();
  let lastMs = 0;
  for (const { template = '–', arrivalMs = 0 } of workflows) {
    templates.set(template, (templates.get(template) ?? 0) + 1);
    lastMs = Math.max(lastMs, arrivalMs);
  }
  return {
    ...{ name, about, workflows: workflows.length },
    stages: workflows.reduce((sum, { rows }) => sum + rows.length, 0),
    templates: Object.fromEntries([...templates].sort(([a], [b]) => (a < b ? -1 : 1))),
    nodes: nodes.length,
    gpus: nodes.reduce((sum, { gpus }) => sum + gpus.length, 0),
    ...(dollarsPerHour ? { dollarsPerHour } : {}),
    engines: nodes.reduce((sum, { engines }) => sum + engines.length, 0),
    models: [...shapesOf(nodes).keys()].sort(),
    ...(workload.phases ? { phases: workload.phases } : {}),
    capacitySpeed,
    capacityPerHour:
      lastMs === 0 ? 0 : Number(((workflows.length / lastMs) * 3_600_000 * capacitySpeed).toPrecision(4)),
  };
}
