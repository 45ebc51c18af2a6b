import { describe, expect, it } from 'vitest';
import { EDF } from '../src/global/order/edf.js';
import { FCFS } from '../src/global/order/fcfs.js';
import { ORACLE_SRTF } from '../src/global/order/oracle.js';
import { nextExponential, SeededRng } from '../src/model/rng.js';
import { ONE_SEAT, oneSeatEngines, poissonWorkflows, testScenario } from '../test/sim-scenario.js';
import type { TraceRow } from '../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';
import type { StageRecord } from './report/types.js';
import { runSimulation } from './simulation.js';
import type { Arrival } from './types.js';

/** So long that whole tokens and the prefill of one token do not count, and an answer is as good as exponential. */
const MEAN_TOKENS = 600;

const totalMs = ({ startMs, endMs }: StageRecord) => endMs! - startMs;
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
/** Relative error of `ours`. */
const error = (ours: number, expected: number) => Math.abs(ours / expected - 1);

/** Longer than any request is served. */
const APART_MS = 60_000;

/** Service times of the same requests, when each finds an engine idle. */
function aloneMs(workflows: readonly TraceWorkflow[]): Map<string, number> {
  const apart = workflows.map((workflow, index) => ({
    ...workflow,
    arrivalMs: index * APART_MS,
    rows: workflow.rows.map((row) => ({ ...row, timestamp: index * APART_MS })),
  }));
  const { stages } = runSimulation(testScenario(ONE_SEAT, apart));
  const service = new Map(stages.map((stage) => [stage.stageId, totalMs(stage)]));
  expect(Math.max(...service.values())).toBeLessThan(APART_MS);
  return service;
}

/** Time in system of every request when `servers` serve one queue in order of arrival (Lindley for one, Kiefer–Wolfowitz for more). */
function queueMs(workflows: readonly TraceWorkflow[], service: ReadonlyMap<string, number>, servers: number): number[] {
  const freeMs = new Array<number>(servers).fill(0);
  return workflows.map(({ arrivalMs = 0, rows }) => {
    const first = freeMs.indexOf(Math.min(...freeMs));
    freeMs[first] = Math.max(freeMs[first]!, arrivalMs) + service.get(rows[0]!.request_id)!;
    return freeMs[first]! - arrivalMs;
  });
}

/** Mean wait of M/M/c, by Erlang’s C formula. */
function erlangWaitMs(servers: number, meanServiceMs: number, load: number): number {
  const offered = servers * load;
  let term = 1;
  let sum = 0;
  for (let k = 0; k < servers; k++) {
    sum += term;
    term *= offered / (k + 1);
  }
  const last = term / (1 - load);
  return ((last / (sum + last)) * meanServiceMs) / (servers * (1 - load));
}

/** A long sample for each number of servers: at half load the mean wait of so many requests is known to about one percent. */
const COUNT = 60_000;

/** The same requests, however fast they come. */
const service = aloneMs(poissonWorkflows(COUNT, 6_000, MEAN_TOKENS, 7));
const meanServiceMs = mean([...service.values()]);

describe.each([
  { servers: 1, load: 0.5 },
  { servers: 4, load: 0.7 },
])('$servers engines of one seat, one queue, load $load', ({ servers, load }) => {
  const arrivals = poissonWorkflows(COUNT, meanServiceMs / (servers * load), MEAN_TOKENS, 7);
  const { stages, counters } = runSimulation(testScenario(oneSeatEngines(servers), arrivals, { lookAhead: 0 }));
  const ours = mean(stages.map(totalMs));

  it('keeps requests exactly as long as the recursion of the queue says', () => {
    expect(error(ours, mean(queueMs(arrivals, service, servers)))).toBeLessThan(1e-4);
  });

  it('has the mean wait of M/M/c', () => {
    const observedLoad = (COUNT * meanServiceMs) / (servers * arrivals.at(-1)!.arrivalMs!);
    expect(error(ours - meanServiceMs, erlangWaitMs(servers, meanServiceMs, observedLoad))).toBeLessThan(0.02);
  });

  it('obeys Little’s law', () => {
    const events = stages
      .flatMap(({ startMs, endMs }) => [
        { atMs: startMs, change: 1 },
        { atMs: endMs!, change: -1 },
      ])
      .sort((a, b) => a.atMs - b.atMs);
    let present = 0;
    let area = 0;
    let lastMs = 0;
    for (const { atMs, change } of events) {
      area += present * (atMs - lastMs);
      present += change;
      lastMs = atMs;
    }
    expect(present).toBe(0);
    const throughput = stages.length / counters.simulatedMs;
    expect(error(area / counters.simulatedMs, throughput * ours)).toBeLessThan(1e-6);
  });
});

it('has as many models at work as M (1 − exp(−λT)) says', () => {
  const models = 20;
  const fleet = manyModels(models);
  const rng = new SeededRng(5);
  const rows: TraceRow[] = [];
  for (let timestamp = 0; rows.length < 40_000; timestamp += nextExponential(rng, 200)) {
    const id = `r${rows.length}`;
    const model = `m${Math.floor(rng.next() * models)}`;
    rows.push({ request_id: id, workflow_id: id, timestamp, input_length: 1, output_length: 600, model });
  }
  const { stages, counters } = runSimulation(testScenario(fleet, groupWorkflows(rows)));
  const byModel = new Map<string, StageRecord[]>();
  for (const stage of stages) byModel.set(stage.model, [...(byModel.get(stage.model) ?? []), stage]);
  let activeMs = 0;
  for (const list of byModel.values()) {
    let coveredMs = 0;
    for (const { startMs, endMs } of list.sort((a, b) => a.startMs - b.startMs)) {
      activeMs += Math.max(0, endMs! - Math.max(startMs, coveredMs));
      coveredMs = Math.max(coveredMs, endMs!);
    }
  }
  const spanMs = counters.simulatedMs;
  const perModel = (stages.length / models / spanMs) * mean(stages.map(totalMs));
  expect(error(activeMs / spanMs, models * (1 - Math.exp(-perModel)))).toBeLessThan(0.02);
});

describe('one server that changes between workflows at every stage', () => {
  /** Chains of short calls, so that the server is as good as preemptable. */
  const chains = (seed: number): TraceWorkflow[] => {
    const rng = new SeededRng(seed);
    let timestamp = 0;
    const rows: TraceRow[] = [];
    for (let index = 0; index < 1_500; index++) {
      timestamp += nextExponential(rng, 2_200);
      const stages = 2 + Math.floor(48 * rng.next() ** 3);
      for (let stage = 0; stage < stages; stage++) {
        rows.push({
          ...{ request_id: `w${index}/${stage}`, workflow_id: `w${index}`, input_length: 1, output_length: 20 },
          ...(stage === 0 ? { timestamp } : { wait_for: [`w${index}/${stage - 1}`] }),
          model: 'llama-3.1-8b',
        });
      }
    }
    return groupWorkflows(rows);
  };
  /** One call may be under way when a more urgent one comes. */
  const blockingMs = 400;

  it.each([1, 2, 3])('meets every deadline under edf that any other order can meet (seed %i)', (seed) => {
    const workflows = chains(seed);
    const scenario = testScenario(ONE_SEAT, workflows, { lookAhead: 0, detail: 'summary' });
    const arrivals = [...scenario.arrivals];
    const shortest = runSimulation({ ...scenario, arrivals, policy: ORACLE_SRTF });
    const ends = new Map(
      shortest.workflows.map(({ workflowId, arrivalMs, endMs }) => [workflowId, endMs! - arrivalMs]),
    );
    const feasible = arrivals.map((arrival): Arrival => {
      const deadlineMs = ends.get(arrival.workflow.workflowId)! + blockingMs;
      return { ...arrival, deadlineMs };
    });
    const attainment = (policy: typeof EDF) => {
      const { workflows: ended } = runSimulation({ ...scenario, arrivals: feasible, policy });
      return ended.filter(({ met }) => met).length / ended.length;
    };
    expect(attainment(EDF)).toBeGreaterThan(0.98);
    expect(attainment(FCFS)).toBeLessThan(0.9);
  });
});

/** Every model on an engine of its own, with seats for all. */
function manyModels(count: number): string {
  const engines = Array.from({ length: count }, (_, gpu) => {
    const names = `id: e${gpu}, model: llama-3.1-8b, servedName: m${gpu}`;
    return `        - { ${names}, gpus: [${gpu}], kvMemory: 40GiB, maxModelLen: 8192, sleep: false }`;
  });
  return [
    'fleet:',
    '  nodes:',
    '    - id: node',
    `      gpus: { type: h100-sxm, count: ${count} }`,
    '      engines:',
    ...engines,
    '',
  ].join('\n');
}
