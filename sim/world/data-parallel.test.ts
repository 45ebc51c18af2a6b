import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import { SeededRng } from '../../src/model/rng.js';
import { randomWorkflows, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../../traces/workflow.js';
import { EventLoop } from '../event-loop.js';
import { runSimulation } from '../simulation.js';
import { type ClosedLoop, runClosedLoop } from '../validate/closed-loop.js';
import { readCsv } from '../validate/csv.js';
import { planSiliconRow, SILICON_COLUMNS } from '../validate/silicon.js';
import { SimEngine } from './engine.js';

/** The shipped rows of vLLM with data-parallel ranks. */
async function rankedRows() {
  const lines = createInterface({
    input: createReadStream(new URL('../validate/facts/measured-latency.csv', import.meta.url)),
  });
  const plans = [];
  for await (const read of readCsv(lines, SILICON_COLUMNS)) {
    const plan = 'broken' in read ? read.broken : planSiliconRow(read.cells);
    if (typeof plan === 'object' && plan.partition.dataParallel) plans.push(plan);
  }
  return plans;
}

/** Mean times of a closed loop on an engine of the simulated fleet. */
function inFleet(fleet: string, { promptTokens, outputTokens, concurrency, shortestShare, rounds = 10 }: ClosedLoop) {
  const rng = new SeededRng(1);
  const draw = (longest: number) => Math.max(1, Math.round(longest * (1 - (1 - shortestShare) * rng.next())));
  const requests = Array.from({ length: rounds * concurrency }, () => ({
    ...{ promptTokens: draw(promptTokens), outputTokens: draw(outputTokens), startMs: 0, firstMs: 0 },
  }));
  const loop = new EventLoop();
  let ttftMs = 0;
  let tpotMs = 0;
  let started = 0;
  const engine = new SimEngine(toNodeSpecs(parseConfig(fleet, 'fleet'))[0]!.engines[0]!, loop, {
    firstToken: (id) => {
      const request = requests[Number(id)]!;
      request.firstMs = loop.nowMs;
      ttftMs += (loop.nowMs - request.startMs) / requests.length;
    },
    finished: (id, tokens) => {
      tpotMs += (loop.nowMs - requests[Number(id)]!.firstMs) / (tokens - 1) / requests.length;
      if (started < requests.length) start();
    },
  });
  const start = () => {
    const request = requests[started]!;
    request.startMs = loop.nowMs;
    const { promptTokens, outputTokens } = request;
    engine.add({ stageId: String(started++), promptTokens, outputTokens, priority: 0, blockHashes: [] });
  };
  while (started < concurrency) start();
  loop.run();
  return { ttftMs, tpotMs };
}

/** Workflows of so many calls, each with the prompt of the one before and 1,600 tokens more. */
function growingTalks(count: number, calls: number, model: string): TraceWorkflow[] {
  const rows: TraceRow[] = [];
  for (let talk = 0; talk < count; talk++) {
    for (let call = 0; call < calls; call++) {
      rows.push({
        ...{ request_id: `w${talk}/${call}`, workflow_id: `w${talk}`, model, role: 'agent', template: 'talk' },
        ...(call > 0 ? { wait_for: [`w${talk}/${call - 1}`], delay: 500 } : { timestamp: 400 * talk }),
        ...{ input_length: 1_600 * (call + 1), output_length: 60, block_tokens: 16 },
        hash_runs: [[1_000 * talk, 100 * (call + 1)]],
      });
    }
  }
  return groupWorkflows(rows);
}

describe('an engine with data-parallel ranks in a fleet file', () => {
  it('is as fast as validate silicon says of the same ranks', async () => {
    const rows = (await rankedRows()).filter(({ loop }) => loop.concurrency <= 256);
    expect(rows.length).toBeGreaterThanOrEqual(2);
    for (const { partition, config, loop } of rows) {
      const { gpu, model, tp, dataParallel, precision } = partition;
      const gpus = Array.from({ length: tp }, (_, index) => index).join(', ');
      const limits = `maxNumSeqs: ${loop.concurrency}, maxModelLen: ${config.maxModelLen}, sleep: false`;
      const fleet = `
fleet:
  nodes:
    - id: n
      gpus: { type: ${gpu}, count: ${tp} }
      engines:
        - { id: e, model: ${model}, gpus: [${gpus}], dataParallel: ${dataParallel}, dtype: ${precision}, ${limits} }
classes: [{ name: batch, kind: batch, deadline: 1h }]
defaultClass: batch
`;
      const simulated = inFleet(fleet, loop);
      const measured = runClosedLoop(config, loop);
      expect(simulated.tpotMs).toBeCloseTo(measured.tpotMs, 6);
      expect(simulated.ttftMs).toBeCloseTo(measured.ttftMs, 6);
    }
  });

  it.each(['qwen3-30b-a3b', 'llama-3.1-8b'])('ends every call of a fleet of %s', (model) => {
    const fleet = (ranks: number) => `
fleet:
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 2 }
      hostMemory: 256GiB
      engines:
        - { id: e, model: ${model}, gpus: [0, 1], dataParallel: ${ranks}, kvMemory: 2GiB, maxModelLen: 8192 }
`;
    const workflows = randomWorkflows(60, 5).map((workflow) => ({
      ...workflow,
      rows: workflow.rows.map((row) => ({ ...row, model })),
    }));
    const { counters, workflows: ended } = runSimulation(testScenario(fleet(2), workflows));
    expect(counters.left).toBe(0);
    expect(ended).toHaveLength(60);
    expect(ended.every(({ completed }) => completed)).toBe(true);
  });

  it.each(['qwen3-30b-a3b', 'llama-3.1-8b'])(
    'finds the contexts of agents on %s where their ranks are chosen, as on as many engines',
    (model) => {
      const engine = (id: string, more: string) =>
        `        - { id: ${id}, model: ${model}, kvMemory: 8GiB, maxModelLen: 32768, sleep: false, ${more} }\n`;
      const cachedShare = (engines: string, placement: 'maestro' | 'least-loaded' = 'maestro') => {
        const fleet = `
fleet:
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 4 }
      hostMemory: 256GiB
      engines:
${engines}`;
        const { counters } = runSimulation(testScenario(fleet, growingTalks(40, 5, model), { placement }));
        expect(counters.left).toBe(0);
        return counters.cachedTokens / counters.promptTokens;
      };
      const ranks = engine('e', 'gpus: [0, 1, 2, 3], dataParallel: 4');
      const chosen = cachedShare(ranks);
      // Prompts of 1 to 5 parts, of which the last is new: 10 of 15, had none of them gone elsewhere for its load.
      expect(chosen).toBeGreaterThan(0.5);
      expect(cachedShare(engine('e', 'gpus: [0, 1, 2, 3], dataParallel: 4, chooseRank: false'))).toBeLessThan(0.35);
      // A plain balancer names no rank.
      expect(cachedShare(ranks, 'least-loaded')).toBeLessThan(0.35);
      const alone = [0, 1, 2, 3].map((gpu) => engine(`e${gpu}`, `gpus: [${gpu}]`)).join('');
      expect(chosen).toBeGreaterThan(cachedShare(alone) - 0.05);
    },
  );
});
