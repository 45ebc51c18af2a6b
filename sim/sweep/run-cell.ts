import { serviceTimes } from '../../src/engine/service-times.js';
import { stepShapeOf } from '../../src/engine/step-shape.js';
import type { StepShape } from '../../src/engine/step-time.js';
import { ORACLE_POLICIES, ORDERING_POLICIES } from '../../src/global/order/registry.js';
import type { NodeSpec } from '../../src/model/fleet.js';
import { MINUTE_MS } from '../../src/model/units.js';
import { isolatedDuration } from '../../traces/replay/isolated.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import { portfolioController } from '../portfolio/controller.js';
import { jainIndex } from '../report/stats.js';
import { runSimulation } from '../simulation.js';
import type { Arrival, SimResult, SimScenario } from '../types.js';
import { arrivalsOf } from '../workload.js';
import { boundOf } from './bounds.js';
import { slowdownOf, worstWaitSeconds } from './delays.js';
import { fleetDollarsPerHour } from './gpu-price.js';
import { nodesOf } from './node-variant.js';
import { byMinute } from './phases.js';
import { scaledWorkload } from './scale.js';
import type { RunRow, SweepCell, SweepWorkload } from './types.js';

/** What each workflow takes alone, worked out once for each workload in this process: it is the same for all policies, loads, rules and seeds. */
const isolatedTimes = new WeakMap<SweepWorkload, ReadonlyMap<TraceWorkflow, number | undefined>>();

/** The scenario of a cell. */
export function scenarioOf(
  workload: SweepWorkload,
  cell: SweepCell,
  detail: SimScenario['detail'] = 'summary',
): SimScenario {
  const shapes = shapesOf(workload.nodes);
  const first = cell.prior ?? cell.policy;
  const policy = [...ORDERING_POLICIES, ...ORACLE_POLICIES].find(({ name }) => name === first);
  if (!policy) throw new Error(`no ordering policy is called ${first}`);
  const isolated = isolatedTimes.get(workload) ?? isolatedTimesOf(workload, shapes);
  const arrivals = arrivalsOf(workload.workflows, {
    load: cell.load * workload.capacitySpeed,
    seed: cell.seed,
    deadlineRule: cell.deadlineRule,
    classes: workload.classes,
    defaultClass: workload.defaultClass,
    isolatedMs: (workflow) => isolated.get(workflow),
    changesMs: workload.phases?.slice(1).map(({ fromMinute }) => fromMinute * MINUTE_MS),
  });
  return {
    arrivals,
    nodes: nodesOf(workload.nodes, cell.node),
    classes: workload.classes,
    policy,
    placement: cell.placement,
    reservation: cell.reservation,
    prediction: cell.prediction,
    node: cell.node,
    queue: workload.queue,
    serviceTimeMs: serviceTimes(shapes),
    lookAhead: workload.lookAhead,
    minResidencyMs: workload.minResidencyMs,
    kvOverflowTarget: workload.kvOverflowTarget,
    rttMs: workload.rttMs,
    seed: cell.seed,
    faults: [],
    // What is unfinished when arrivals end gets as long again, then it is a miss.
    horizonMs: 2 * (arrivals.at(-1)?.atMs ?? 0) + longestDeadline(arrivals),
    detail,
    // As live: whoever asks for `maestro` gets the policy that tunes itself, unless it has no time for that.
    ...(cell.policy === 'maestro' && workload.portfolioCpuShare > 0
      ? {
          controller: portfolioController(
            { ...workload, ...cell },
            { cpuShare: workload.portfolioCpuShare, ...(cell.prior === undefined ? {} : { prior: cell.prior }) },
          ),
        }
      : {}),
  };
}

function isolatedTimesOf(
  workload: SweepWorkload,
  shapes: ReadonlyMap<string, StepShape>,
): ReadonlyMap<TraceWorkflow, number | undefined> {
  const durationMs = isolatedDuration((model) => shapes.get(model));
  const times = new Map(workload.workflows.map((workflow) => [workflow, durationMs(workflow)]));
  isolatedTimes.set(workload, times);
  return times;
}

export function runCell(given: SweepWorkload, cell: SweepCell): RunRow {
  const workload = scaledWorkload(given, cell.scale);
  const scenario = scenarioOf(workload, cell);
  return rowOf(workload, cell, runSimulation(scenario), scenario);
}

export function rowOf(workload: SweepWorkload, cell: SweepCell, result: SimResult, scenario: SimScenario): RunRow {
  const arrivals = scenario.arrivals as readonly Arrival[];
  const lastMs = arrivals.at(-1)?.atMs ?? 0;
  const warmupMs = workload.warmupShare * lastMs;
  const counted = result.workflows.filter(({ arrivalMs }) => arrivalMs >= warmupMs);
  const met = counted.filter((workflow) => workflow.met);
  // Of the traffic that counts; where all of it comes at one moment, until it has ended.
  const overMs = lastMs > warmupMs ? lastMs - warmupMs : Math.max(1, result.counters.simulatedMs - lastMs);
  const goodputPerSecond = met.length / (overMs / 1000);
  const gpus = workload.nodes.reduce((sum, node) => sum + node.gpus.length, 0);
  const dollarsPerHour = fleetDollarsPerHour(workload.nodes);
  const { kv, coldStarts, preemptions } = result.fleet;
  return {
    workload: cell.workload,
    deadlineRule: cell.deadlineRule,
    policy: cell.policy,
    load: cell.load,
    seed: cell.seed,
    placement: cell.placement,
    reservation: cell.reservation,
    prediction: cell.prediction.kind === 'noise' ? `noise ${cell.prediction.sigma}` : cell.prediction.kind,
    ...(cell.node === undefined ? {} : { node: cell.node }),
    ...(cell.prior === undefined ? {} : { prior: cell.prior }),
    ...(cell.scale === undefined ? {} : { scale: cell.scale }),
    workflows: counted.length,
    attainment: share(met.length, counted.length),
    bound: boundOf(workload, cell, arrivals, warmupMs),
    attainmentByClass: attainmentBy(counted, ({ sloClass }) => sloClass),
    goodputPerSecond,
    goodputPerGpuHour: (goodputPerSecond * 3600) / Math.max(1, gpus),
    ...(dollarsPerHour ? { goodputPerDollar: (goodputPerSecond * 3600) / dollarsPerHour } : {}),
    kv: {
      reservedByteSeconds: kv!.reservedByteSeconds,
      maxTokenByteSeconds: kv!.maxTokenByteSeconds,
      usedByteSeconds: kv!.usedByteSeconds,
      nodeOverflowRate: kv!.nodeOverflowRate ?? 0,
    },
    coldStarts: coldStarts!,
    slowdown: slowdownOf(counted),
    worstWaitSecondsByClass: worstWaitSeconds(counted, Math.max(lastMs, result.counters.simulatedMs)),
    preemptions: preemptions!,
    fairness: jainIndex(Object.values(attainmentBy(counted, ({ tenant }) => tenant))) ?? 1,
    cachedShare: share(result.counters.cachedTokens, result.counters.promptTokens),
    ...(scenario.controller?.stats ? { tuning: scenario.controller.stats() } : {}),
    simulatedSeconds: Math.round(result.counters.simulatedMs / 1000),
    stages: result.counters.stages,
    ...(workload.phases ? { minutes: byMinute(result.workflows, workload.phases.at(-1)!.toMinute) } : {}),
  };
}

type Workflow = SimResult['workflows'][number];

function attainmentBy(workflows: readonly Workflow[], group: (workflow: Workflow) => string): Record<string, number> {
  const counts = new Map<string, { met: number; all: number }>();
  for (const workflow of workflows) {
    const name = group(workflow);
    const count = counts.get(name) ?? { met: 0, all: 0 };
    counts.set(name, count);
    count.all += 1;
    if (workflow.met) count.met += 1;
  }
  return Object.fromEntries(
    [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { met, all }]) => [name, met / all]),
  );
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function longestDeadline(arrivals: readonly { readonly deadlineMs: number }[]): number {
  return arrivals.reduce((longest, { deadlineMs }) => Math.max(longest, deadlineMs), 0);
}

/** What serves each model; of several engines of a model the first counts. */
export function shapesOf(nodes: readonly NodeSpec[]): Map<string, StepShape> {
  const shapes = new Map<string, StepShape>();
  for (const { engines } of nodes) {
    for (const spec of engines) {
      const shape = stepShapeOf(spec);
      if (shape && !shapes.has(spec.model)) shapes.set(spec.model, shape);
    }
  }
  return shapes;
}
