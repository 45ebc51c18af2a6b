import { type StepShape, stepCostOf } from '../../src/engine/step-time.js';
import type { EngineSpec, NodeSpec } from '../../src/model/fleet.js';
import { criticalPathMs, type TraceWorkflow } from '../../traces/workflow.js';
import type { Arrival } from '../types.js';
import { type Limit, mostWithin } from './dual.js';
import { type LeastWork, leastMs, leastWorkOf } from './least-work.js';
import { STEP_TOKENS, type StepFloor, stepFloor } from './step-floor.js';

/** Times at which windows begin and end, each; every window from one of the former to one of the latter is a limit. */
const WINDOW_EDGES = 6;
/** Whom reading the weights is charged to; for each model the choice counts that makes its work the most. */
const CHARGES = [0, 0.6, 0.8, 0.95].flatMap((promptShare) =>
  [0, 0.5, 1].map((heldShare) => ({ promptShare, heldShare })),
);

/** What the workflows of a workload ask of a fleet at least: the part of the bound that is the same for all loads, rules and seeds. */
export class ClairvoyantBound {
  private readonly needs = new Map<TraceWorkflow, Need>();
  private readonly capacities: readonly number[];

  constructor(
    workflows: readonly TraceWorkflow[],
    nodes: readonly NodeSpec[],
    rttMs: Readonly<Record<string, number>>,
  ) {
    const works = leastWorkOf(workflows);
    const all = works.flat();
    const servers = [...serversOf(nodes, rttMs)].map(([model, engines]) => {
      return pricedServers(
        engines,
        all.filter((work) => work.model === model),
      );
    });
    const byModel = new Map(servers.map((each, index) => [each.model, { ...each, index }]));
    // One for each model, and the memory of all GPUs, which awake engines fill.
    this.capacities = [...servers.map(({ capacity }) => capacity), memoryOf(nodes)];
    for (const [at, workflow] of workflows.entries()) {
      const amounts = new Float64Array(this.capacities.length);
      const fastest = new Map<string, number>();
      let served = true;
      for (const [row, work] of works[at]!.entries()) {
        const server = byModel.get(work.model);
        served &&= server !== undefined;
        if (!server) continue;
        amounts[server.index]! += server.workMs(work);
        amounts[servers.length]! += server.memoryMs(work);
        fastest.set(workflow.rows[row]!.request_id, server.fastestMs(work));
      }
      const leastMs = served
        ? criticalPathMs(workflow, ({ request_id }) => fastest.get(request_id)!)
        : Number.POSITIVE_INFINITY;
      this.needs.set(workflow, { leastMs, amounts });
    }
  }

  /**
   * No policy can have a larger share of the arrivals from `fromMs` on in time. What holds a workflow back: its longest path with every call alone on the fastest engine, all
   * reusable context cached; and work: all that arrives and is due within a window has to be done within it, by the engines of its model and in the memory of the GPUs.
   */
  attainment(arrivals: readonly Arrival[], fromMs: number): number {
    const counted = arrivals.filter(({ atMs }) => atMs >= fromMs);
    const able = counted.flatMap(({ atMs, deadlineMs, workflow }) => {
      const need = this.needs.get(workflow)!;
      return need.leastMs <= deadlineMs ? [{ atMs, dueMs: atMs + deadlineMs, amounts: need.amounts }] : [];
    });
    const begins = edges(
      able.map(({ atMs }) => atMs),
      'first',
    );
    const ends = edges(
      able.map(({ dueMs }) => dueMs),
      'last',
    );
    const limits = begins.flatMap((beginMs) =>
      ends.flatMap((endMs) => {
        const inside = able.flatMap(({ atMs, dueMs }, item) => (atMs >= beginMs && dueMs <= endMs ? [item] : []));
        return this.capacities.map(
          (capacity, resource): Limit => ({
            capacity: capacity * (endMs - beginMs),
            items: Int32Array.from(inside),
            amounts: Float64Array.from(inside, (item) => able[item]!.amounts[resource]!),
          }),
        );
      }),
    );
    // A whole number of workflows; the hair is for rounding.
    return counted.length === 0 ? 0 : Math.floor(mostWithin(able.length, limits) + 1e-6) / counted.length;
  }
}

interface Need {
  readonly leastMs: number;
  /** Of each capacity. */
  readonly amounts: Float64Array;
}

interface Server {
  readonly shape: StepShape;
  readonly spec: EngineSpec;
  readonly rttMs: number;
}

function serversOf(nodes: readonly NodeSpec[], rttMs: Readonly<Record<string, number>>): Map<string, Server[]> {
  const byModel = new Map<string, Server[]>();
  for (const { clusterId, engines } of nodes) {
    for (const spec of engines) {
      const { model, llm, gpu, gpuIndices, weightDtype = 'bf16', kvDtype = 'bf16' } = spec;
      if (!llm || !gpu) continue;
      const shape = { llm, gpu, tp: Math.max(1, gpuIndices.length), weightDtype, kvDtype };
      byModel.set(model, [...(byModel.get(model) ?? []), { shape, spec, rttMs: rttMs[clusterId] ?? 0 }]);
    }
  }
  return byModel;
}

/** The engines of one model, in time of the first of them. */
function pricedServers(servers: readonly Server[], works: readonly LeastWork[]) {
  const room = Math.max(...servers.map(({ spec }) => spec.maxModelLen));
  const clipped = (work: LeastWork): LeastWork => ({
    ...work,
    outputTokens: Math.max(1, Math.min(work.outputTokens, room - work.promptTokens)),
  });
  const choices = CHARGES.map((charge) => {
    const floors = servers.map(({ shape, spec }) => {
      return stepFloor(shape, { maxSeqs: spec.maxNumSeqs, poolTokens: spec.kvPoolTokens }, charge);
    });
    const work = works.reduce((total, each) => total + leastMs(clipped(each), floors[0]!), 0);
    // An engine that does the same work in half the time is worth two.
    const capacity = floors.reduce((total, floor) => total + 1 / slowest(floor, floors[0]!), 0);
    return { floors, capacity, pressure: work / capacity };
  });
  const { floors, capacity } = choices.reduce((best, each) => (each.pressure > best.pressure ? each : best));
  const costs = servers.map(({ shape }) => stepCostOf(shape));
  return {
    model: servers[0]!.spec.model,
    capacity,
    workMs: (work: LeastWork) => leastMs(clipped(work), floors[0]!),
    /** GPU memory that an engine fills meanwhile, bytes × milliseconds. */
    memoryMs: (work: LeastWork) =>
      Math.min(...servers.map(({ spec }, index) => leastMs(clipped(work), floors[index]!) * awakeBytes(spec))),
    fastestMs: (given: LeastWork) => {
      const { promptTokens, uncachedTokens, outputTokens } = clipped(given);
      return Math.min(
        ...servers.map(
          ({ rttMs }, index) =>
            rttMs +
            costs[index]!.prefillMs(promptTokens, promptTokens - uncachedTokens, STEP_TOKENS) +
            costs[index]!.decodeRunMs(1, promptTokens, outputTokens - 1),
        ),
      );
    },
  };
}

/** The least time of an engine for work that takes the other one millisecond: the smallest ratio of any cost. */
function slowest(own: StepFloor, other: StepFloor): number {
  const ratios = (Object.keys(other) as (keyof StepFloor)[]).flatMap((part) =>
    other[part] > 0 ? [own[part] / other[part]] : [],
  );
  return Math.max(1e-9, Math.min(...ratios));
}

function awakeBytes({ weightBytes, kvPoolBytes, kvLeastBytes, gpuIndices }: EngineSpec): number {
  return (weightBytes + (kvLeastBytes ?? kvPoolBytes)) * Math.max(1, gpuIndices.length);
}

function memoryOf(nodes: readonly NodeSpec[]): number {
  return nodes.reduce((total, { gpus, engines }) => {
    const residues = engines.reduce((sum, { residueBytes, gpuIndices }) => sum + residueBytes * gpuIndices.length, 0);
    return total + gpus.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0) - residues;
  }, 0);
}

/** So many of the values, evenly spread over their order: the first or the last of each part. */
function edges(values: readonly number[], which: 'first' | 'last'): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  const picked = Array.from({ length: WINDOW_EDGES }, (_, part) => {
    const at = which === 'first' ? part * sorted.length : (part + 1) * sorted.length - 1;
    return sorted[Math.floor(at / WINDOW_EDGES)];
  });
  return [...new Set(picked.filter((value) => value !== undefined))];
}
