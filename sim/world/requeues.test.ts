import { expect, it } from 'vitest';
import { EDF } from '../../src/global/order/edf.js';
import { ONE_AT_A_TIME, TURN_MODELS, testScenario } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { runSimulation } from '../simulation.js';

const [BATCH_MODEL, OTHER_MODEL] = TURN_MODELS;
const LAST_S = 600;

function call(id: string, atS: number, model: string, outputTokens: number, sloClass: string): TraceRow {
  const lengths = { input_length: 100, output_length: outputTokens };
  return { request_id: id, workflow_id: id, timestamp: 1_000 * atS, model, class: sloClass, ...lengths };
}

it('lets a batch call finish that has made room for others twice', () => {
  // It runs for half a minute, and another model of its GPU is wanted every eight seconds.
  const rows = [call('batch', 0, BATCH_MODEL, 4_000, 'batch')];
  for (let atS = 6; atS < LAST_S; atS += 8) rows.push(call(`other ${atS}`, atS, OTHER_MODEL, 10, 'interactive'));
  const { workflows, counters } = runSimulation(
    testScenario(ONE_AT_A_TIME, groupWorkflows(rows), { policy: EDF, minResidencyMs: 1_000 }),
  );
  expect(counters).toMatchObject({ left: 0, failedMoves: 0 });
  const { completed, endMs } = workflows.find(({ workflowId }) => workflowId === 'batch')!;
  expect(completed).toBe(true);
  expect(endMs).toBeLessThan(LAST_S * 500);
});
