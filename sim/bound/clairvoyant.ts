import type { NodeSpec } from '../../src/model/fleet.js';
import { criticalPathMs, type TraceWorkflow } from '../../traces/workflow.js';
import type { Arrival } from '../types.js';
import { type Limit, mostWithin } from './dual.js';
import { leastWorkOf } from './least-work.js';
import { MEMORY_WEIGHTS, ModelServers, memoryOf, serversOf } from './servers.js';

/** Times at which windows begin and end, each; every window from one of the former to one of the latter is a limit. */
const WINDOW_EDGES = 6;

interface Need {
  readonly leastMs: number;
  /** Of each capacity. */
  readonly amounts: Float64Array;
}

/** What the workflows of a workload ask of a fleet at least: the part of the bound that is the same for all loads, rules and seeds. */
export class ClairvoyantBound {
  private readonly needs = new Map<TraceWorkflow, Need>();
  /** For each millisecond. */
  private readonly capacities: readonly number[];

  /** @param lookAhead Calls that an engine may have beyond its seats. */
  constructor(
    workflows: readonly TraceWorkflow[],
    nodes: readonly NodeSpec[],
    rttMs: Readonly<Record<string, number>>,
    lookAhead: number,
  ) {
    const works = leastWorkOf(workflows);
    const all = works.flat();
    const models = [...serversOf(nodes, rttMs)].map(([model, servers], index) => {
      const own = all.filter((work) => work.model === model);
      return [
        model,
        { servers: new ModelServers(servers, own, lookAhead), first: index * MEMORY_WEIGHTS.length },
      ] as const;
    });
    const byModel = new Map(models);
    // Time and KV memory of each model in several mixtures, and the memory of all GPUs, which awake engines fill.
    const memoryAt = models.length * MEMORY_WEIGHTS.length;
    this.capacities = [...new Array<number>(memoryAt).fill(1), memoryOf(nodes)];
    for (const [at, workflow] of workflows.entries()) {
      const amounts = new Float64Array(this.capacities.length);
      const fastest = new Map<string, number>();
      let served = true;
      for (const [row, work] of works[at]!.entries()) {
        const model = byModel.get(work.model);
        served &&= model !== undefined;
        if (!model) continue;
        for (const [index, taken] of model.servers.takes(work).entries()) amounts[model.first + index]! += taken;
        amounts[memoryAt]! += model.servers.fills(work);
        fastest.set(workflow.rows[row]!.request_id, model.servers.fastestMs(work));
      }
      const leastMs = served
        ? criticalPathMs(workflow, ({ request_id }) => fastest.get(request_id)!)
        : Number.POSITIVE_INFINITY;
      this.needs.set(workflow, { leastMs, amounts });
    }
  }

  /**
   * No policy can have a larger share of the arrivals from `fromMs` on in time. What holds a workflow back: its longest path with every call alone on the fastest engine, all
   * reusable context cached; and work: all that arrives and is due within a window has to be done within it, by the engines of its model, in their KV memory and the memory of
   * the GPUs.
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

/** So many of the values, evenly spread over their order: the first or the last of each part. */
function edges(values: readonly number[], which: 'first' | 'last'): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  const picked = Array.from({ length: WINDOW_EDGES }, (_, part) => {
    const at = which === 'first' ? part * sorted.length : (part + 1) * sorted.length - 1;
    return sorted[Math.floor(at / WINDOW_EDGES)];
  });
  return [...new Set(picked.filter((value) => value !== undefined))];
}
