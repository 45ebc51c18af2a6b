import { describe, expect, it } from 'vitest';
import { ONE_AT_A_TIME, TURN_MODELS, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

/** Calls of two models in turn, 30 s apart. The engine of the first is started anew and has a call to serve at once, so that it does not sleep at its start. */
const CALLS = groupWorkflows(
  [0, 0, 1, 0, 1, 0, 1].map((model, index): TraceRow => {
    const request_id = `r${index}`;
    const lengths = { input_length: 100, output_length: 20 };
    return { request_id, workflow_id: request_id, timestamp: index * 30_000, model: TURN_MODELS[model]!, ...lengths };
  }),
);

/** Seconds until each call started. */
function waits(firstSleep: boolean): number[] {
  const { stages, counters } = runSimulation(
    testScenario(ONE_AT_A_TIME, CALLS, {
      node: { prefetch: false, firstSleep },
      faults: [{ kind: 'engine-crash', engineId: 'e0', atMs: 29_000, downMs: 3_000 }],
    }),
  );
  expect(counters).toMatchObject({ failedMoves: 0, left: 0 });
  return stages.map(({ queueMs = 0, coldStartMs = 0 }) => (queueMs + coldStartMs) / 1000);
}

describe('an engine that has never slept, and whose room somebody waits for', () => {
  it('drops its weights, which spares the call the pinning and costs a later one a reload', () => {
    const [pinning, dropping] = [waits(false), waits(true)];
    expect(pinning[1]).toBeCloseTo(2, 1);
    expect(dropping[1]).toBeCloseTo(2, 1);
    expect(pinning[2]).toBeGreaterThan(8);
    expect(dropping[2]).toBeLessThan(2);
    expect(dropping[3]! - pinning[3]!).toBeGreaterThan(3);
    expect(dropping[3]).toBeLessThan(7);
  });
});
