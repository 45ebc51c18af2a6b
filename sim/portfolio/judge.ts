import type { OrderingPolicy } from '../../src/global/order/policy.js';
import type {
  ReplayJudge,
  ReplayRequest,
  ReplayResult,
  ReplayScore,
  ReplayWorkflow,
} from '../../src/global/portfolio/replay.js';
import { thinNodes } from '../../src/global/portfolio/thinning.js';
import type { NodeSpec } from '../../src/model/fleet.js';
import type { SloClass } from '../../src/model/stage.js';
import { runSimulation } from '../simulation.js';
import type { QueueRules, SimScenario } from '../types.js';
import { replayArrivals } from './replay-arrivals.js';

/** What the replays run on: the fleet and the rules of the scheduler that asks. */
export interface JudgeFleet {
  readonly nodes: readonly NodeSpec[];
  readonly classes: readonly SloClass[];
  readonly lookAhead: number;
  readonly minResidencyMs: number;
  readonly kvOverflowTarget: number;
  readonly rttMs: Readonly<Record<string, number>>;
  readonly placement?: SimScenario['placement'];
  readonly reservation?: SimScenario['reservation'];
  readonly node?: SimScenario['node'];
  readonly queue?: SimScenario['queue'];
}

/**
 * CPU of a replayed event where nothing measures it, so that a simulated run does not depend on the machine it runs on. By event, because a stage with a long context has three times as many as a
 * single call. Source: replays of the benchmark's workloads on one core of a server with other work, 0.02 to 0.08.
 */
const NOMINAL_EVENT_MS = 0.03;
/** At least the incumbent and one other must be compared, whatever it costs. */
const ALWAYS_TRIED = 2;

/**
 * Replays a request under each of its candidates, one after the other.
 *
 * @param elapsedMs A clock for the cost of replays; absent: a nominal cost an event.
 */
export function replayJudge(
  fleet: JudgeFleet,
  candidates: readonly OrderingPolicy[],
  elapsedMs?: () => number,
): ReplayJudge {
  const byName = new Map(candidates.map((policy) => [policy.name, policy]));
  return {
    evaluate(request: ReplayRequest): ReplayResult {
      const nodes = thinNodes(fleet.nodes, request.thinning);
      const { arrivals, predictions, beginMs } = replayArrivals(request.workflows, warmTokensOf(nodes));
      const queue = fleet.queue && thinQueue(fleet.queue, request.thinning);
      const scenario = scenarioOf({ ...fleet, nodes, queue }, beginMs + request.horizonMs, arrivals, {
        kind: 'told',
        byRequest: predictions,
      });
      const known = { byModel: request.knownQueues ?? {}, learnsFromMs: beginMs };
      let first: Replayed | undefined;
      const work = new Map(request.workflows.map((workflow) => [workflow.workflowId, workOf(workflow)]));
      const workMs = [...work.values()].reduce((sum, ms) => sum + ms, 0);
      const lastMs = beginMs + request.workflows.reduce((last, { atMs }) => Math.max(last, atMs), 0);
      const counted = new Set(request.workflows.flatMap(({ counts, workflowId }) => (counts ? [workflowId] : [])));
      const scores: ReplayScore[] = [];
      let costMs = 0;
      for (const name of request.candidates) {
        const policy = byName.get(name);
        if (!policy) continue;
        if (scores.length >= ALWAYS_TRIED && costMs + costMs / scores.length > request.budgetMs) break;
        const startMs = elapsedMs?.() ?? 0;
        const { workflows, counters } = runSimulation({ ...scenario, policy, known });
        costMs += elapsedMs ? elapsedMs() - startMs : NOMINAL_EVENT_MS * counters.events;
        const done = workflows.filter(({ completed, endMs }) => completed && endMs! <= lastMs);
        const replayed: Replayed = {
          inTime: new Set(
            workflows.flatMap(({ met, workflowId }) => (met && counted.has(workflowId) ? workflowId : [])),
          ),
          doneMs: done.reduce((sum, { workflowId }) => sum + (work.get(workflowId) ?? 0), 0),
        };
        first ??= replayed;
        const attainment = replayed.inTime.size / Math.max(1, counted.size);
        scores.push({ candidate: name, attainment, ...comparison(counted, replayed, first, workMs) });
      }
      return { scores, costMs };
    },
  };
}

function scenarioOf(
  fleet: JudgeFleet,
  horizonMs: number,
  arrivals: SimScenario['arrivals'],
  prediction: SimScenario['prediction'],
): Omit<SimScenario, 'policy'> {
  const { nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs } = fleet;
  const { placement = 'maestro', reservation = 'predicted', node, queue } = fleet;
  return {
    ...{ nodes, classes, lookAhead, minResidencyMs, kvOverflowTarget, rttMs, placement, reservation, node, queue },
    ...{ arrivals, prediction, horizonMs, seed: 0, faults: [], detail: 'summary' as const },
  };
}

/** One workflow in k is replayed, so a k-th of what may wait does. */
function thinQueue({ maxCount, maxBytes, maxCountPerTenant, ...times }: QueueRules, thinning: number): QueueRules {
  const thin = (limit: number) => Math.ceil(limit / thinning);
  return {
    ...times,
    ...(maxCount === undefined ? {} : { maxCount: thin(maxCount) }),
    ...(maxBytes === undefined ? {} : { maxBytes: thin(maxBytes) }),
    ...(maxCountPerTenant === undefined ? {} : { maxCountPerTenant: thin(maxCountPerTenant) }),
  };
}

/** KV memory of the fleet; 0 where engines sleep, since laying down prefixes would wake them. */
function warmTokensOf(nodes: readonly NodeSpec[]): number {
  const engines = nodes.flatMap((node) => node.engines);
  if (engines.some(({ sleepCapable }) => sleepCapable)) return 0;
  return engines.reduce((sum, { kvPoolTokens }) => sum + kvPoolTokens, 0);
}

/** What came of a replay. */
interface Replayed {
  /** Counted workflows in time. */
  readonly inTime: ReadonlySet<string>;
  /** Work of the workflows that had ended when the last one came. */
  readonly doneMs: number;
}

/** So much less work done, as a share of all, is chance. */
const WORK_BY_CHANCE = 0.02;

/** Expected service of all that is still to be done of it. */
function workOf({ stages }: ReplayWorkflow): number {
  return stages.reduce((sum, { state, prediction }) => (state === 'done' ? sum : sum + prediction.serviceMs), 0);
}

function comparison(counted: ReadonlySet<string>, replayed: Replayed, first: Replayed, workMs: number) {
  let gained = 0;
  let lost = 0;
  for (const workflowId of counted) {
    const met = replayed.inTime.has(workflowId);
    if (met === first.inTime.has(workflowId)) continue;
    if (met) gained += 1;
    else lost += 1;
  }
  // What gets less done lets a backlog grow, of which a short replay sees only the beginning: as many are lost in the end as the first keeps in time with the work that is left behind here.
  const behind = (first.doneMs - replayed.doneMs) / Math.max(1, workMs) - WORK_BY_CHANCE;
  return { gained, lost: lost + Math.round(Math.max(0, behind) * first.inTime.size) };
}
