import { runSimulation } from '../../sim/simulation.js';
import type { LinkFaults, SimFault, SimResult } from '../../sim/types.js';
import { ORDERING_POLICIES } from '../../src/global/order/registry.js';
import { SeededRng } from '../../src/model/rng.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../sim-scenario.js';
import { starvedStages } from './starvation.js';

const ENGINES = ['a-8b', 'a-32b', 'b-8b'];
const NODES = ['a', 'b'];
/** After the last arrival; a workflow that has not ended by then never will. */
const HORIZON_MS = 3_600_000;

/** Plays random workflows under a random policy with random crashes, restarts and bad links, all drawn from `seed`, and returns what is wrong with the outcome. */
export function checkSeed(seed: number): string[] {
  const rng = new SeededRng(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(rng.next() * items.length)]!;
  const workflows = randomWorkflows(40, seed, 100 + 900 * rng.next());
  const lastMs = workflows.at(-1)?.arrivalMs ?? 0;
  const horizonMs = lastMs + HORIZON_MS;
  const faults = Array.from({ length: Math.floor(rng.next() * 6) }, (): SimFault => {
    const when = { atMs: Math.floor(rng.next() * lastMs), downMs: 1_000 + Math.floor(rng.next() * 20_000) };
    const draw = rng.next();
    if (draw < 0.5) return { kind: 'engine-crash', engineId: pick(ENGINES), ...when };
    if (draw < 0.7) return { kind: 'node-death', nodeId: pick(NODES), ...when };
    return { kind: 'controller-restart', ...when };
  });
  const links: LinkFaults | undefined =
    rng.next() < 0.5
      ? undefined
      : { jitterMs: 50 * rng.next(), lossRate: 0.3 * rng.next(), resendMs: 200, duplicateRate: 0.3 * rng.next() };
  const policy = pick(ORDERING_POLICIES);
  const result = runSimulation(
    testScenario(SMALL_FLEET, workflows, {
      policy,
      faults,
      links,
      seed,
      horizonMs,
      rttMs: { local: Math.floor(rng.next() * 20) },
      detail: 'timeline',
    }),
  );
  return [...violations(workflows, result), ...starvedStages(policy, seed)].map(
    (text) => `${text} (policy ${policy.name}, ${faults.length} faults, ${links ? 'bad' : 'good'} links)`,
  );
}

/** What must hold however a run went: nothing is lost, doubled, left behind, before its cause, promised twice, or beyond the memory that is there (KV tokens where the run was sampled). */
export function violations(
  workflows: readonly TraceWorkflow[],
  { workflows: records, stages, counters, fleet }: SimResult,
): string[] {
  const wrong: string[] = [];
  for (const { atMs, engineId, kvReservedTokens, kvPoolTokens } of fleet.samples) {
    if (kvReservedTokens > kvPoolTokens) {
      wrong.push(`engine ${engineId} has promised ${kvReservedTokens} of ${kvPoolTokens} KV tokens at ${atMs} ms`);
    }
  }
  if (counters.left !== 0) wrong.push(`${counters.left} leases or stages are left`);
  if (counters.failedMoves !== 0) wrong.push(`${counters.failedMoves} sleeps or wakes found no memory`);
  if (counters.overcommittedBytes !== 0) {
    wrong.push(`${counters.overcommittedBytes} bytes were promised that no GPU or host has`);
  }
  const byId = new Map(records.map((record) => [record.workflowId, record]));
  if (byId.size !== records.length || records.length !== workflows.length) {
    wrong.push(`${records.length} workflows are recorded, of ${workflows.length}`);
  }
  const done = new Map<string, { startMs: number; endMs: number }>();
  for (const { stageId, outcome, startMs, endMs } of stages) {
    if (outcome !== 'completed') continue;
    if (done.has(stageId)) wrong.push(`stage ${stageId} completed twice`);
    done.set(stageId, { startMs, endMs: endMs! });
  }
  for (const { workflowId, rows } of workflows) {
    const record = byId.get(workflowId);
    const completed = rows.filter(({ request_id }) => done.has(request_id)).length;
    if (record?.completed && completed !== rows.length) {
      wrong.push(`workflow ${workflowId} counts as completed with ${completed} of ${rows.length} stages`);
    }
    if (record && !record.completed && record.error === undefined) wrong.push(`workflow ${workflowId} never ended`);
    for (const { request_id, wait_for = [] } of rows) {
      const own = done.get(request_id);
      if (own && own.endMs < own.startMs) wrong.push(`stage ${request_id} ended before it began`);
      for (const other of wait_for) {
        const before = done.get(other);
        if (own && (before === undefined || before.endMs > own.startMs)) {
          wrong.push(`stage ${request_id} began before ${other} had ended`);
        }
      }
    }
  }
  return wrong;
}
