import { findCapacity } from '../../sim/sweep/capacity.js';
import type { SweepWorkload } from '../../sim/sweep/types.js';
import type { QueueRules } from '../../sim/types.js';
import { DEFAULT_MAX_TOKENS } from '../../sim/world/stages.js';
import { chooseModels } from '../../traces/replay/models.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../../traces/workflow.js';
import { toNodeSpecs } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
import { MaestroError } from '../model/error.js';
import type { NodeSpec } from '../model/fleet.js';

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
  readonly portfolioCpuShare?: number | undefined;
  /** Round trips to clusters; those that are not named stand beside the scheduler. */
  readonly rttMs?: Readonly<Record<string, number>> | undefined;
  /** See {@link SweepWorkload.queue}. */
  readonly queue?: QueueRules;
}

/** A tenth of what the live system takes, so that sweeps end. */
const DEFAULT_PORTFOLIO_CPU_SHARE = 0.005;

/** A workload with a word for people on what it is, and notes on what of its trace cannot be played as it stands. */
export type NamedWorkload = SweepWorkload & { readonly about: string; readonly notes: readonly string[] };

/** A trace on a fleet, ready for a sweep. Refuses what cannot be simulated, naming the fix. */
export function sweepWorkload(args: WorkloadArguments): NamedWorkload {
  const { name, about, rows, config, modelMap, limitWorkflows, capacitySpeed, warmupShare, rttMs = {} } = args;
  const { portfolioCpuShare = DEFAULT_PORTFOLIO_CPU_SHARE, queue } = args;
  const nodes = toNodeSpecs(config);
  const clusters = new Set(nodes.map(({ clusterId }) => clusterId));
  for (const name of Object.keys(rttMs)) {
    if (clusters.has(name)) continue;
    throw new MaestroError('invalid_request', `The fleet has no cluster ${name}; it has ${[...clusters].join(', ')}.`);
  }
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
    workflows: timed.slice(0, limitWorkflows).map((workflow) => inKnownClass(workflow, config)),
    notes: notesOn(all, nodes, config),
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

/** The class of a workflow as the front door takes it: by its name, else by its kind, else the default class. */
function inKnownClass(workflow: TraceWorkflow, { classes, defaultClass }: MaestroConfig): TraceWorkflow {
  const { sloClass } = workflow;
  if (sloClass === undefined || classes.some(({ name }) => name === sloClass)) return workflow;
  const ofKind = classes.filter(({ kind }) => kind === sloClass).map(({ name }) => name);
  return { ...workflow, sloClass: ofKind.includes(defaultClass) ? defaultClass : (ofKind[0] ?? defaultClass) };
}

/** What would go wrong without a word: workflows that are not played, play in another class, or cannot be served at all. */
function notesOn(all: readonly TraceWorkflow[], nodes: readonly NodeSpec[], config: MaestroConfig): string[] {
  const count = (of: (workflow: TraceWorkflow) => boolean) => all.filter(of).length;
  const longest = new Map<string, number>();
  for (const { model, maxModelLen } of nodes.flatMap(({ engines }) => engines)) {
    longest.set(model, Math.max(longest.get(model) ?? 0, maxModelLen));
  }
  const untimed = count(({ arrivalMs }) => arrivalMs === undefined);
  const roomOf = ({ model, input_length }: TraceRow) => (longest.get(model!) ?? 0) - input_length;
  const tooLong = count(({ rows }) => rows.some((row) => roomOf(row) <= 0));
  const cut = count(({ rows }) =>
    rows.some((row) => roomOf(row) > 0 && row.output_length > Math.min(row.max_tokens ?? Infinity, roomOf(row))),
  );
  const strange = [...new Set(all.map(({ sloClass }) => sloClass))].filter(
    (name) => name !== undefined && config.classes.every((each) => each.name !== name && each.kind !== name),
  );
  const calls = all.flatMap(({ rows }) => rows);
  const unlimited = calls.filter(({ max_tokens }) => max_tokens === undefined).length;
  return [
    ...(unlimited > 0
      ? [
          `${unlimited} of ${calls.length} calls name no max_tokens: ${DEFAULT_MAX_TOKENS} are taken for it, doubled until the answer fits.`,
        ]
      : []),
    ...(untimed > 0 ? [`${untimed} of ${all.length} workflows have no arrival time and are left out.`] : []),
    ...(tooLong > 0
      ? [
          `${tooLong} of ${all.length} workflows have a call whose prompt is longer than any engine of its model takes (maxModelLen): it is rejected, and they count as misses.`,
        ]
      : []),
    ...(cut > 0
      ? [
          `${cut} of ${all.length} workflows have an answer that is longer than max_tokens or the context leave room for: it ends there.`,
        ]
      : []),
    ...(strange.length > 0
      ? [`The fleet file has no class ${strange.join(', ')}; those workflows are of class ${config.defaultClass}.`]
      : []),
  ];
}
