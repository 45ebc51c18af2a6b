import { runSimulation } from '../../sim/simulation.js';
import {
  type LinkFaults,
  PLACEMENTS,
  RESERVATIONS,
  type SimFault,
  type SimResult,
  type SimScenario,
} from '../../sim/types.js';
import { parseConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import { ORDERING_POLICIES } from '../../src/global/order/registry.js';
import { RETENTION_RULE_NAMES } from '../../src/global/retention/rules.js';
import { type Rng, SeededRng } from '../../src/model/rng.js';
import { EVICTION_POLICY_NAMES } from '../../src/node/evict.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../sim-scenario.js';
import { randomFleet } from './random-fleet.js';
import { randomTraffic } from './random-traffic.js';
import { starvedStages } from './starvation.js';

/** After the last arrival; a workflow that has not ended by then never will. */
const HORIZON_MS = 3_600_000;

/** Plays random workflows under a random policy with random crashes, restarts and bad links, all drawn from `seed`, and returns what is wrong with the outcome. */
export function checkSeed(seed: number): string[] {
  const rng = new SeededRng(seed);
  const workflows = randomWorkflows(40, seed, 100 + 900 * rng.next());
  const faults = randomFaults(rng, lastArrivalMs(workflows), ['a-8b', 'a-32b', 'b-8b'], ['a', 'b']);
  const links = randomLinks(rng);
  const policy = pick(rng, ORDERING_POLICIES);
  const rttMs = { local: Math.floor(rng.next() * 20) };
  const wrong = play(SMALL_FLEET, workflows, { policy, faults, links, seed, rttMs }, HORIZON_MS);
  return [...wrong, ...starvedStages(policy, seed)].map(
    (text) => `${text} (policy ${policy.name}, ${faults.length} faults, ${links ? 'bad' : 'good'} links)`,
  );
}

/** The same on a random fleet, with whatever rules nodes, router and reservations may have. */
export function checkFleetSeed(seed: number): string[] {
  const rng = new SeededRng(seed);
  const crashes = rng.next() < 0.5;
  const fleet = randomFleet(rng);
  const nodes = toNodeSpecs(parseConfig(fleet, 'fleet'));
  const engines = nodes.flatMap((node) => node.engines);
  const workflows = randomTraffic(rng, [...new Set(engines.map(({ model }) => model))]);
  const engineIds = engines.map(({ engineId }) => engineId);
  const nodeIds = nodes.map(({ nodeId }) => nodeId);
  const chance = (share: number) => rng.next() < share;
  const settings = {
    ...{ seed, policy: pick(rng, ORDERING_POLICIES), links: randomLinks(rng) },
    faults: crashes ? randomFaults(rng, lastArrivalMs(workflows), engineIds, nodeIds) : [],
    node: {
      ...{ weights: pick(rng, EVICTION_POLICY_NAMES), retention: pick(rng, RETENTION_RULE_NAMES) },
      ...{ prefetch: chance(0.7), firstSleep: chance(0.6), pooledKv: chance(0.7) },
    },
    placement: chance(0.8) ? 'maestro' : pick(rng, PLACEMENTS),
    reservation: chance(0.5) ? 'predicted' : pick(rng, RESERVATIONS),
    prediction: { kind: pick(rng, ['online', 'none', 'oracle'] as const) },
    rttMs: { c0: Math.floor(rng.next() * 20), c1: Math.floor(rng.next() * 40) },
  } satisfies Partial<SimScenario>;
  // A large model that takes turns with another may serve two calls at a time.
  const wrong = play(fleet, workflows, settings, 24 * HORIZON_MS);
  const { policy, placement, reservation, faults } = settings;
  return wrong.map((text) => `${text} (${policy.name}, ${placement}, ${reservation}, ${faults.length} faults)${fleet}`);
}

function play(
  fleet: string,
  workflows: readonly TraceWorkflow[],
  settings: Partial<SimScenario>,
  moreMs: number,
): string[] {
  const horizonMs = lastArrivalMs(workflows) + moreMs;
  const scenario = testScenario(fleet, workflows, { ...settings, horizonMs, detail: 'timeline' });
  return violations(workflows, runSimulation(scenario));
}

function lastArrivalMs(workflows: readonly TraceWorkflow[]): number {
  return workflows.at(-1)?.arrivalMs ?? 0;
}

function pick<T>(rng: Rng, items: readonly T[]): T {
  return items[Math.floor(rng.next() * items.length)]!;
}

function randomFaults(rng: Rng, lastMs: number, engineIds: readonly string[], nodeIds: readonly string[]): SimFault[] {
  return Array.from({ length: Math.floor(rng.next() * 6) }, (): SimFault => {
    const when = { atMs: Math.floor(rng.next() * lastMs), downMs: 1_000 + Math.floor(rng.next() * 20_000) };
    const draw = rng.next();
    if (draw < 0.5) return { kind: 'engine-crash', engineId: pick(rng, engineIds), ...when };
    if (draw < 0.7) return { kind: 'node-death', nodeId: pick(rng, nodeIds), ...when };
    return { kind: 'controller-restart', ...when };
  });
}

function randomLinks(rng: Rng): LinkFaults | undefined {
  if (rng.next() < 0.5) return undefined;
  const [jitterMs, lossRate] = [50 * rng.next(), 0.3 * rng.next()];
  return { jitterMs, lossRate, resendMs: 200, duplicateRate: 0.3 * rng.next() };
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
