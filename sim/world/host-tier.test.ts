import { describe, expect, it } from 'vitest';
import { GiB } from '../../src/model/units.js';
import { ONE_AT_A_TIME, TURN_MODELS, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';
import { nodesOf } from '../sweep/node-variant.js';

/** No weights can be pinned: of 38 GiB 34 are for copies, which is two of the three. */
const SMALL_HOST = { hostMemoryBytes: 38 * GiB, staging: { folder: '/ram', memoryBytes: 34 * GiB } };

/** A call every 20 s, of one model after the other. */
const CALLS = groupWorkflows(
  Array.from({ length: 30 }, (_, index): TraceRow => {
    const id = `r${index}`;
    const model = TURN_MODELS[index % TURN_MODELS.length]!;
    return { request_id: id, workflow_id: id, timestamp: index * 20_000, input_length: 100, output_length: 20, model };
  }),
);

function coldStarts(staging: boolean) {
  const scenario = testScenario(ONE_AT_A_TIME, CALLS, { node: { prefetch: false } });
  const nodes = nodesOf(
    scenario.nodes.map((node) => ({ ...node, ...SMALL_HOST })),
    { staging },
  );
  const { fleet, counters, stages } = runSimulation({ ...scenario, nodes });
  expect(counters).toMatchObject({ failedMoves: 0, left: 0 });
  return { ...fleet.coldStarts!, each: stages.map(({ coldStartMs = 0 }) => coldStartMs) };
}

describe('weights that no host memory can pin', () => {
  it('are read from copies in RAM where memory is set aside for them, and calls wait less', () => {
    const [fromDisk, fromRam] = [coldStarts(false), coldStarts(true)];
    expect(fromRam.count).toBe(fromDisk.count);
    expect(fromDisk.count).toBeGreaterThan(20);
    expect(fromRam.requestSeconds).toBeLessThan(0.85 * fromDisk.requestSeconds);
    // The copy of the model that is awake makes way for the two asleep, so that every wake finds one.
    expect(Math.max(...fromRam.each)).toBeLessThan(0.75 * Math.max(...fromDisk.each));
  });
});
