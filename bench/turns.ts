/**
 * How far from the best possible the rule is by which models take turns on a GPU: `npm run bench:turns -- [--seeds 5] [--first-seed 1]`. Small cases, three models of which one fits at a
 * time and calls of one length that come as a Poisson process, because there the least wait of all calls together can be computed (`sim/bound/turns.ts`), for one who knows all arrivals.
 * Beside it stands what a simple rule without foresight comes to (`sim/bound/turn-rule.ts`).
 */
import { turnRuleWaitMs } from '../sim/bound/turn-rule.js';
import { leastTurnWaitMs, type TurnModel } from '../sim/bound/turns.js';
import { runSimulation } from '../sim/simulation.js';
import type { SimScenario } from '../sim/types.js';
import { sleepMs, wakeMs } from '../src/engine/weight-moves.js';
import { EDF_SJF_LATE_LAST } from '../src/global/order/late-last.js';
import { SeededRng } from '../src/model/rng.js';
import { ONE_AT_A_TIME, TURN_MODELS, testScenario } from '../test/sim-scenario.js';
import type { TraceRow } from '../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';
import { count, orEnd, scriptFlags } from './flags.js';
import { mean, printTable } from './print.js';

const OUTPUT_TOKENS = 500;
/** More calls of each model make the search long. */
const CALLS_PER_MODEL = 25;
/** Calls of each model that run on the mean while nobody waits. */
const BUSY = [0.3, 1, 3];
/** Shortest turns of a rule that is not ours, for comparison. */
const TURNS_S = [Number.POSITIVE_INFINITY, 4, 1];
const RESIDENCIES_S = [300, 20, 5];

const values = scriptFlags(
  'npm run bench:turns -- [flags]\nThe turns that models take on a GPU, beside the best possible on small cases.',
  {
    seeds: { type: 'string', default: '5', help: 'how many' },
    'first-seed': { type: 'string', default: '1', help: 'the first of them' },
  },
);
const seeds = orEnd(() => {
  const first = count('--first-seed', values['first-seed']);
  return Array.from({ length: count('--seeds', values.seeds) }, (_, index) => first + index);
});
const models = TURN_MODELS.map(turnModel);
const rows: string[][] = [];
for (const busy of BUSY) {
  const cases = seeds.map((seed) => callsOf(busy, seed));
  const ruled = TURNS_S.map((turnS) =>
    cases.map((workflows) => turnRuleWaitMs(turnCalls(workflows), models, turnS * 1000) / 1000),
  );
  const best = cases.map((workflows, at) => {
    const known = Math.min(...ruled.map((waits) => waits[at]!));
    return leastTurnWaitMs(turnCalls(workflows), models, 1, known * 1000) / 1000;
  });
  rows.push([`${busy}`, 'best possible, all arrivals known', mean(best).toFixed(0), '', '']);
  for (const [index, turnS] of TURNS_S.entries()) {
    const waits = ruled[index]!;
    const rule = Number.isFinite(turnS) ? `a busy one after ${turnS} s` : 'idle ones only';
    rows.push([`${busy}`, `most waiting first, ${rule}`, mean(waits).toFixed(0), ofBest(waits, best), '']);
  }
  for (const residencyS of RESIDENCIES_S) {
    const runs = cases.map((workflows) => play(workflows, residencyS * 1000));
    const waits = runs.map(({ waitS }) => waitS);
    rows.push([
      `${busy}`,
      `as it is, minResidency ${residencyS} s`,
      mean(waits).toFixed(0),
      ofBest(waits, best),
      mean(runs.map(({ held }) => held)).toFixed(0),
    ]);
  }
}
printTable(
  `three models take turns on one GPU; seconds that ${models.length * CALLS_PER_MODEL} calls wait together`,
  ['calls running', 'rule', 'wait s', 'of the best', 'held for weights s'],
  rows,
);

function callsOf(busy: number, seed: number): TraceWorkflow[] {
  const rng = new SeededRng(seed);
  const rows = models.flatMap(({ name, serviceMs }): TraceRow[] => {
    let timestamp = 0;
    return Array.from({ length: CALLS_PER_MODEL }, (_, index) => {
      timestamp += (-serviceMs / busy) * Math.log(1 - rng.next());
      return row(name, index, timestamp);
    });
  });
  return groupWorkflows(rows.sort((a, b) => a.timestamp! - b.timestamp!));
}

function row(model: string, index: number, timestamp: number): TraceRow {
  const request_id = `${model}-${index}`;
  return { request_id, workflow_id: request_id, timestamp, input_length: 500, output_length: OUTPUT_TOKENS, model };
}

function turnCalls(workflows: readonly TraceWorkflow[]) {
  const firstMs = workflows[0]!.arrivalMs!;
  return workflows.map(({ arrivalMs, rows: [call] }) => ({ atMs: arrivalMs! - firstMs, model: call!.model! }));
}

function scenarioOf(workflows: readonly TraceWorkflow[], minResidencyMs: number): SimScenario {
  return testScenario(ONE_AT_A_TIME, workflows, { minResidencyMs, policy: EDF_SJF_LATE_LAST });
}

/** A call alone, and the moves of its engine. */
function turnModel(name: string): TurnModel {
  const scenario = scenarioOf(groupWorkflows([row(name, 0, 0)]), 0);
  const { startMs, endMs, queueMs = 0, coldStartMs = 0 } = runSimulation(scenario).stages[0]!;
  const { gpu, weightBytes } = scenario.nodes[0]!.engines.find(({ model }) => model === name)!;
  return {
    name,
    serviceMs: endMs! - startMs - queueMs - coldStartMs,
    sleepMs: sleepMs(gpu!, weightBytes, 1),
    wakeMs: wakeMs(gpu!, weightBytes),
    bytes: 1,
    awake: name === TURN_MODELS[0],
  };
}

function play(workflows: readonly TraceWorkflow[], minResidencyMs: number): { waitS: number; held: number } {
  const { stages, fleet } = runSimulation(scenarioOf(workflows, minResidencyMs));
  const waitMs = stages.reduce((sum, { queueMs = 0, coldStartMs = 0 }) => sum + queueMs + coldStartMs, 0);
  return { waitS: waitMs / 1000, held: fleet.coldStarts!.requestSeconds };
}

function ofBest(waits: readonly number[], best: readonly number[]): string {
  return mean(waits.map((wait, at) => wait / best[at]!)).toFixed(2);
}
