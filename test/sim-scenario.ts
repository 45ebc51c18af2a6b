import { shapesOf } from '../sim/sweep/run-cell.js';
import type { SimScenario } from '../sim/types.js';
import { arrivalsOf } from '../sim/workload.js';
import { parseConfig } from '../src/config/load.js';
import { toNodeSpecs } from '../src/config/node-specs.js';
import { serviceTimes } from '../src/engine/service-times.js';
import { FCFS } from '../src/global/order/fcfs.js';
import { type Rng, SeededRng } from '../src/model/rng.js';
import type { TraceRow } from '../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';

/** For the tests: a scenario on a fleet of the config syntax; all that is not given is plain. */
export function testScenario(
  fleet: string,
  workflows: readonly TraceWorkflow[],
  overrides: Partial<SimScenario> = {},
): SimScenario {
  const config = parseConfig(fleet, 'fleet');
  const nodes = toNodeSpecs(config);
  return {
    arrivals: arrivalsOf(workflows, {
      ...{ load: 1, seed: 0, deadlineRule: 'class', classes: config.classes, defaultClass: config.defaultClass },
      isolatedMs: () => undefined,
    }),
    ...{ nodes, classes: config.classes, policy: FCFS, placement: 'maestro', reservation: 'predicted' },
    prediction: { kind: 'online' },
    serviceTimeMs: serviceTimes(shapesOf(nodes)),
    lookAhead: config.scheduling.lookAhead,
    minResidencyMs: config.scheduling.minResidencyMs,
    kvOverflowTarget: config.scheduling.kvOverflowTarget,
    ...{ rttMs: {}, seed: 1, faults: [], horizonMs: Number.POSITIVE_INFINITY, detail: 'requests' },
    ...overrides,
  };
}

/** So many engines that serve one sequence at a time. */
export function oneSeatEngines(count: number): string {
  const limits = 'kvMemory: 20GiB, maxModelLen: 8192, maxNumSeqs: 1, sleep: false';
  const engines = Array.from(
    { length: count },
    (_, gpu) => `        - { id: e${gpu}, model: llama-3.1-8b, gpus: [${gpu}], ${limits} }`,
  );
  return `
fleet:
  nodes:
    - id: node
      gpus: { type: h100-sxm, count: ${count} }
      hostMemory: 64GiB
      engines:
${engines.join('\n')}
`;
}

/** An M/G/1 server. */
export const ONE_SEAT = oneSeatEngines(1);

/** Three models on one GPU, one engine each, of which one fits at a time. */
export const TURN_MODELS = ['llama-3.1-8b', 'qwen3-8b', 'qwen2.5-7b'] as const;
export const ONE_AT_A_TIME = `
fleet:
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
${TURN_MODELS.map((model, at) => `        - { id: e${at}, model: ${model}, gpus: [0], kvMemory: 40GiB, maxModelLen: 8192, startAsleep: ${at > 0} }`).join('\n')}
`;

/** Two nodes; models that take turns on a GPU, and one that both nodes have. */
export const SMALL_FLEET = `
fleet:
  nodes:
    - id: a
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
        - { id: a-8b, model: llama-3.1-8b, gpus: [0], kvMemory: 10GiB, maxModelLen: 8192 }
        - { id: a-32b, model: qwen3-32b, gpus: [0], kvMemory: 8GiB, maxModelLen: 8192, startAsleep: true }
    - id: b
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 256GiB
      engines:
        - { id: b-8b, model: llama-3.1-8b, gpus: [0], kvMemory: 4GiB, maxModelLen: 8192, maxNumSeqs: 8 }
`;

/** One-stage workflows that arrive as a Poisson process, with exponentially distributed answers of the given mean length. */
export function poissonWorkflows(count: number, meanGapMs: number, meanTokens: number, seed: number): TraceWorkflow[] {
  const rng = new SeededRng(seed);
  let timestamp = 0;
  const rows = Array.from({ length: count }, (_, index): TraceRow => {
    timestamp += exponential(rng, meanGapMs);
    const output_length = Math.max(1, Math.round(exponential(rng, meanTokens)));
    return {
      request_id: `r${index}`,
      workflow_id: `w${index}`,
      timestamp,
      input_length: 1,
      output_length,
      model: 'llama-3.1-8b',
    };
  });
  return groupWorkflows(rows);
}

/** Workflows of random shape: chains and fan-outs over both models. */
export function randomWorkflows(count: number, seed: number, meanGapMs = 400): TraceWorkflow[] {
  const rng = new SeededRng(seed);
  let timestamp = 0;
  const rows: TraceRow[] = [];
  for (let index = 0; index < count; index++) {
    timestamp += exponential(rng, meanGapMs);
    const stages = 1 + Math.floor(rng.next() * 8);
    for (let stage = 0; stage < stages; stage++) {
      const waits = [...Array(stage).keys()].filter(() => rng.next() < 0.4).map((each) => `w${index}/${each}`);
      rows.push({
        ...{ request_id: `w${index}/${stage}`, workflow_id: `w${index}` },
        ...(waits.length > 0 ? { wait_for: waits, delay: Math.floor(rng.next() * 500) } : { timestamp }),
        input_length: 1 + Math.floor(rng.next() * 3000),
        output_length: 1 + Math.floor(exponential(rng, 120)),
        model: rng.next() < 0.7 ? 'llama-3.1-8b' : 'qwen3-32b',
        template: 'random',
        role: `r${stage % 3}`,
        class: rng.next() < 0.7 ? 'interactive' : 'batch',
        hash_runs: [[Math.floor(rng.next() * 5) * 1000, 1 + Math.floor(rng.next() * 20)]],
        block_tokens: 16,
      });
    }
  }
  return groupWorkflows(rows);
}

function exponential(rng: Rng, mean: number): number {
  return -mean * Math.log(1 - rng.next());
}
