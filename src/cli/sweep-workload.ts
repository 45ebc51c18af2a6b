import { findCapacity } from '../../sim/sweep/capacity.js';
import type { SweepWorkload } from '../../sim/sweep/types.js';
import type { QueueRules } from '../../sim/types.js';
import { chooseModels } from '../../traces/replay/models.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { toNodeSpecs } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
import { MaestroError } from '../model/error.js';

export interface WorkloadArguments {
  readonly name: string;
  readonly about: string;
  readonly rows: readonly TraceRow[];
  /** All engines modelled: see `modelledFleet`. */
  readonly config: MaestroConfig;
  /** Served models for recorded ones. */
  readonly modelMap: ReadonlyMap<string, string>;
  readonly limitWorkflows?: number | undefined;
  /** Speed of the arrivals that is load 1; found by bisection where it is not given. */
  readonly capacitySpeed?: number | undefined;
  readonly warmupShare: number;
  /** See {@link SweepWorkload.portfolioCpuShare}. */
  readonly portfolioCpuShare?: number;
  readonly rttMs?: Readonly<Record<string, number>>;
  /** See {@link SweepWorkload.queue}. */
  readonly queue?: QueueRules;
}

/** A hundredth of what the live system takes, so that sweeps end. */
const DEFAULT_PORTFOLIO_CPU_SHARE = 0.0005;

/** A trace on a fleet, ready for a sweep. Refuses what cannot be simulated, naming the fix. */
export function sweepWorkload(args: WorkloadArguments): SweepWorkload & { readonly about: string } {
  const { name, about, rows, config, modelMap, limitWorkflows, capacitySpeed, warmupShare, rttMs = {} } = args;
  const { portfolioCpuShare = DEFAULT_PORTFOLIO_CPU_SHARE, queue } = args;
  const nodes = toNodeSpecs(config);
  const served = [...new Set(nodes.flatMap(({ engines }) => engines.map(({ model }) => model)))];
  const modelFor = chooseModels(rows, modelMap, served);
  const all = groupWorkflows(rows.map((row) => Object.assign({}, row, { model: modelFor(row) })));
  const timed = all.filter(({ arrivalMs }) => arrivalMs !== undefined);
  if (timed.length === 0) {
    throw new MaestroError(
      'invalid_request',
      `${name} has no arrival times. Give its workflows those of another trace: maestro trace compose SPEC -o OUT (docs/traces.md).`,
    );
  }
  if (capacitySpeed === undefined && new Set(timed.map(({ arrivalMs }) => arrivalMs)).size < 2) {
    throw new MaestroError(
      'invalid_request',
      `All workflows of ${name} arrive at one time, so that there is no rate of which load could be a share. Give --capacity 1 to play it as it is.`,
    );
  }
  const workload = {
    ...{ name, about, nodes, rttMs, warmupShare, portfolioCpuShare },
    workflows: timed.slice(0, limitWorkflows),
    classes: config.classes,
    defaultClass: config.defaultClass,
    capacitySpeed: capacitySpeed ?? 1,
    lookAhead: config.scheduling.lookAhead,
    minResidencyMs: config.scheduling.minResidencyMs,
    kvOverflowTarget: config.scheduling.kvOverflowTarget,
  };
  // Who turns stages away never has a growing backlog, so the capacity is looked for without limits.
  const carried = capacitySpeed === undefined ? { ...workload, capacitySpeed: findCapacity(workload) } : workload;
  return queue === undefined ? carried : { ...carried, queue };
}
