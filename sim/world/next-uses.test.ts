import { describe, expect, it } from 'vitest';
import { SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { leastColdStartMs } from '../bound/residency.js';
import { runSimulation } from '../simulation.js';
import type { SimScenario, WeightsPolicy } from '../types.js';
import { NextUses, oracleResidency } from './next-uses.js';
import { openRun } from './runs.js';

const SERVICE_MS = 100;

function arrivalOf(rows: readonly Partial<TraceRow>[], atMs: number) {
  const [workflow] = groupWorkflows(
    rows.map((row, index) => ({
      request_id: `r${index}`,
      workflow_id: 'w',
      input_length: 1,
      output_length: 1,
      ...row,
    })),
  );
  return { atMs, workflow: workflow!, sloClass: 'interactive', deadlineMs: 1_000 };
}

describe('NextUses', () => {
  const chain = [{ model: 'a' }, { model: 'b', wait_for: ['r0'], delay: 50 }, { model: 'a', wait_for: ['r1'] }];

  it('knows what is left of the workflows under way, and the first uses of those to come', () => {
    const now = arrivalOf(chain, 0);
    const later = arrivalOf([{ model: 'c' }], 9_000);
    const uses = new NextUses([now, later], () => SERVICE_MS);
    expect(['a', 'b', 'c', 'd'].map((model) => uses.inMs(model, -1))).toEqual([
      1,
      1 + SERVICE_MS + 50,
      9_001,
      Number.POSITIVE_INFINITY,
    ]);
    const run = openRun(now);
    const [first, second] = now.workflow.rows;
    uses.opened(run);
    expect(uses.inMs('a', 0)).toBe(0);
    uses.began(run, first!);
    expect([uses.inMs('a', 10), uses.inMs('b', 10)]).toEqual([2 * SERVICE_MS + 50, SERVICE_MS + 50]);
    uses.began(run, second!);
    expect([uses.inMs('a', 200), uses.inMs('b', 200)]).toEqual([SERVICE_MS, Number.POSITIVE_INFINITY]);
    uses.closed(run);
    expect([uses.inMs('a', 300), uses.inMs('c', 300)]).toEqual([Number.POSITIVE_INFINITY, 8_700]);
  });
});

describe('oracleResidency', () => {
  it('keeps what is used soonest, dear to reload and small', () => {
    const soon: Record<string, number> = { near: 100, far: 1_000, never: Number.POSITIVE_INFINITY };
    const { worth } = oracleResidency((engineId) => soon[engineId]!);
    const candidate = (engineId: string, reloadMs = 400, bytesFreed = 10) =>
      worth({ engineId, reloadMs, bytesFreed } as Parameters<typeof worth>[0]);
    expect(candidate('near')).toBeGreaterThan(candidate('far'));
    expect(candidate('far')).toBeGreaterThan(candidate('never'));
    expect(candidate('far', 4_000)).toBeCloseTo(candidate('near'), 9);
    expect(candidate('far', 400, 1)).toBeCloseTo(candidate('near'), 9);
  });
});

describe('the bound, oracle-residency and the live policies', () => {
  // Any two of three models fit a GPU.
  const fleet = SMALL_FLEET.replace(/ {4}- id: b[\s\S]*$/, '')
    .replace('qwen3-32b', 'qwen3-14b')
    .replace(
      '{ id: a-32b',
      '{ id: a-7b, model: qwen2.5-7b, gpus: [0], kvMemory: 18GiB, maxModelLen: 8192, startAsleep: true }\n        - { id: a-32b',
    )
    .replaceAll('kvMemory: 8GiB', 'kvMemory: 10GiB')
    .replace('kvMemory: 10GiB', 'kvMemory: 18GiB');
  const models = ['llama-3.1-8b', 'qwen2.5-7b', 'qwen3-14b'];

  function run(weights: WeightsPolicy, seed: number): { coldMs: number; scenario: SimScenario } {
    let state = seed;
    const rows = Array.from({ length: 60 }, (_, index): TraceRow => {
      state = (state * 48_271) % 2_147_483_647;
      const model = models[state % 7 < 4 ? 0 : state % 7 < 6 ? 1 : 2]!;
      return {
        ...{ request_id: `r${index}`, workflow_id: `w${index}`, timestamp: 30_000 + index * 8_000 },
        ...{ input_length: 10, output_length: 5, model },
      };
    });
    const scenario = testScenario(fleet, groupWorkflows(rows), { node: { weights, prefetch: false } });
    return { coldMs: runSimulation(scenario).fleet.coldStarts!.requestSeconds * 1_000, scenario };
  }

  it('stand in this order', () => {
    const sums: Record<string, number> = {};
    for (const seed of [1, 2, 3]) {
      const { scenario } = run('lru', seed);
      const { engines, gpus } = scenario.nodes[0]!;
      const residues = engines.reduce((sum, { residueBytes }) => sum + residueBytes, 0);
      const bound = leastColdStartMs(
        [...scenario.arrivals].map(({ atMs, workflow }) => ({ atMs, model: workflow.rows[0]!.model! })),
        new Map(
          engines.map(({ model, weightBytes, kvPoolBytes, gpu }) => [
            model,
            {
              bytes: weightBytes + kvPoolBytes,
              wakeMs: (weightBytes / gpu!.hostBandwidth) * 1000,
              awake: model === models[0] || model === models[1],
            },
          ]),
        ),
        gpus[0]!.memoryBytes - residues,
      );
      sums['bound'] = (sums['bound'] ?? 0) + bound;
      for (const weights of ['oracle-residency', 'value', 'lru', 'lfu'] as const) {
        const { coldMs } = run(weights, seed);
        expect(coldMs).toBeGreaterThanOrEqual(bound);
        sums[weights] = (sums[weights] ?? 0) + coldMs;
      }
    }
    for (const weights of ['value', 'lru', 'lfu']) expect(sums['oracle-residency']).toBeLessThanOrEqual(sums[weights]!);
    expect(sums['bound']).toBeGreaterThan(0);
  });
});
