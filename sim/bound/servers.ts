import { stepShapeOf } from '../../src/engine/step-shape.js';
import { type StepCost, type StepShape, stepCostOf } from '../../src/engine/step-time.js';
import type { EngineSpec, NodeSpec } from '../../src/model/fleet.js';
import { againMs, type LeastWork, leastMs } from './least-work.js';
import { STEP_TOKENS, type StepFloor, stepFloor } from './step-floor.js';

/** Whom reading the weights is charged to; for each model the choice counts that makes its work the most. */
const CHARGES = [0, 0.6, 0.8, 0.95].flatMap((promptShare) =>
  [0, 0.5, 1].map((heldShare) => ({ promptShare, heldShare })),
);

/**
 * How much a limit on both counts KV memory and how much the time of engines. Context between two calls is either held, which takes memory, or computed again, which takes
 * time; in a mixture of both limits it is charged the cheaper of the two, which no schedule can undercut.
 */
export const MEMORY_WEIGHTS: readonly number[] = [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1];

interface Server {
  readonly shape: StepShape;
  readonly cost: StepCost;
  readonly spec: EngineSpec;
  readonly rttMs: number;
}

/** All engines of one model, as if they were one. */
export class ModelServers {
  private readonly room: number;
  private readonly poolTokens: number;
  /** Of each engine, and how much work they do together in a millisecond, in milliseconds of the first. */
  private readonly floors: readonly StepFloor[];
  private readonly rate: number;
  private readonly rttMs: number;

  constructor(
    private readonly servers: readonly Server[],
    works: readonly LeastWork[],
    lookAhead: number,
  ) {
    const specs = servers.map(({ spec }) => spec);
    this.room = Math.max(...specs.map(({ maxModelLen }) => maxModelLen));
    this.poolTokens = specs.reduce((sum, { kvPoolTokens }) => sum + kvPoolTokens, 0);
    this.rttMs = Math.min(...servers.map(({ rttMs }) => rttMs));
    const choices = CHARGES.map((charge) => {
      const floors = servers.map(({ shape, spec: { maxNumSeqs, seats, kvPoolTokens } }) => {
        const maxSeqs = Math.min(maxNumSeqs, seats + lookAhead);
        return stepFloor(shape, { maxSeqs, poolTokens: kvPoolTokens }, charge);
      });
      const work = works.reduce((total, each) => total + leastMs(this.clipped(each), floors[0]!), 0);
      // An engine that does the same work in half the time is worth two.
      const rate = floors.reduce((total, floor) => total + 1 / leastRatio(floor, floors[0]!), 0);
      return { floors, rate, pressure: work / rate };
    });
    const highest = choices.reduce((best, each) => (each.pressure > best.pressure ? each : best));
    this.floors = highest.floors;
    this.rate = highest.rate;
  }

  /** What a call takes of each of {@link MEMORY_WEIGHTS}: milliseconds of all engines and pools together. */
  takes(given: LeastWork): number[] {
    const work = this.clipped(given);
    const [floor] = this.floors;
    const timeMs = leastMs(work, floor!) / this.rate;
    const again = againMs(work, floor!) / this.rate;
    const heldMs = (work.ownTokens * this.fastest(work, decodeMs)) / this.poolTokens;
    const kept = (work.reusedTokens * (work.gapMs + this.rttMs)) / this.poolTokens;
    return MEMORY_WEIGHTS.map(
      (weight) => (1 - weight) * timeMs + weight * heldMs + Math.min((1 - weight) * again, weight * kept),
    );
  }

  /** GPU memory that an engine fills while it does this work, bytes × milliseconds. */
  fills(given: LeastWork): number {
    const work = this.clipped(given);
    return Math.min(...this.servers.map(({ spec }, index) => leastMs(work, this.floors[index]!) * awakeBytes(spec)));
  }

  /** Alone on the fastest engine, with all that a cache could have, milliseconds. */
  fastestMs(given: LeastWork): number {
    const work = this.clipped(given);
    const { promptTokens, uncachedTokens } = work;
    return this.fastest(
      work,
      (cost, rttMs) =>
        rttMs + cost.prefillMs(promptTokens, promptTokens - uncachedTokens, STEP_TOKENS) + decodeMs(cost, 0, work),
    );
  }

  private fastest(work: LeastWork, timeMs: (cost: StepCost, rttMs: number, work: LeastWork) => number): number {
    return Math.min(...this.servers.map(({ cost, rttMs }) => timeMs(cost, rttMs, work)));
  }

  private clipped(work: LeastWork): LeastWork {
    return { ...work, outputTokens: Math.max(1, Math.min(work.outputTokens, this.room - work.promptTokens)) };
  }
}

/** The engines of each model, with the round trip to their cluster; of data-parallel ranks each one. */
export function serversOf(
  nodes: readonly NodeSpec[],
  rttMs: Readonly<Record<string, number>>,
): Map<string, readonly Server[]> {
  const byModel = new Map<string, Server[]>();
  for (const { clusterId, engines } of nodes) {
    for (const spec of engines) {
      const shape = stepShapeOf(spec);
      if (!shape) continue;
      const { model, dataParallel = 1 } = spec;
      const server = { shape, cost: stepCostOf(shape), spec: rankSpec(spec), rttMs: rttMs[clusterId] ?? 0 };
      const ranks = Array.from({ length: dataParallel }, () => server);
      byModel.set(model, [...(byModel.get(model) ?? []), ...ranks]);
    }
  }
  return byModel;
}

/** The part of an engine that is one of its data-parallel ranks. The seats that it is given may all be taken on one of them. */
function rankSpec(spec: EngineSpec): EngineSpec {
  const { dataParallel = 1, gpuIndices, kvPoolTokens, maxNumSeqs } = spec;
  if (dataParallel === 1) return spec;
  return {
    ...{ ...spec, gpuIndices: gpuIndices.slice(0, gpuIndices.length / dataParallel) },
    ...{ kvPoolTokens: kvPoolTokens / dataParallel, maxNumSeqs: maxNumSeqs / dataParallel },
  };
}

/** GPU memory of the fleet that awake engines can fill, bytes. */
export function memoryOf(nodes: readonly NodeSpec[]): number {
  return nodes.reduce((total, { gpus, engines }) => {
    const residues = engines.reduce((sum, { residueBytes, gpuIndices }) => sum + residueBytes * gpuIndices.length, 0);
    return total + gpus.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0) - residues;
  }, 0);
}

function decodeMs(cost: StepCost, _rttMs: number, { promptTokens, outputTokens }: LeastWork): number {
  return cost.decodeRunMs(1, promptTokens, outputTokens - 1);
}

/** The least time of an engine for work that takes the other one millisecond: the smallest ratio of any cost. */
function leastRatio(own: StepFloor, other: StepFloor): number {
  const ratios = (Object.keys(other) as (keyof StepFloor)[]).flatMap((part) =>
    other[part] > 0 ? [own[part] / other[part]] : [],
  );
  return Math.max(1e-9, Math.min(...ratios));
}

function awakeBytes({ weightBytes, kvPoolBytes, kvLeastBytes, gpuIndices }: EngineSpec): number {
  return (weightBytes + (kvLeastBytes ?? kvPoolBytes)) * Math.max(1, gpuIndices.length);
}
