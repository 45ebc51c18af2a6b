import { runSimulation } from '../../sim/simulation.js';
import type { SimController } from '../../sim/types.js';
import type { OrderingPolicy } from '../../src/global/order/policy.js';
import type { Stage } from '../../src/model/stage.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import { oneSeatEngines, poissonWorkflows, testScenario } from '../sim-scenario.js';

const OVERDUE_MS = 2_000;
/** Of a model's dispatches, while a stage is overdue. */
const GUARD_SHARE = 0.2;
/** Twice what the seats can serve. */
const MEAN_GAP_MS = 300;
const MEAN_TOKENS = 100;

interface Waiting {
  readonly stage: Stage;
  /** Dispatches of its model since it is overdue, and those of them that were older. */
  passed: number;
  older: number;
}

/**
 * Floods engines that always have memory with calls of both classes, and names those that were passed more often than the guard of the global queue allows: with n older
 * overdue stages before it, a stage leaves within (n + 1) ÷ guardShare dispatches of its model. (Where memory is short, a stage also waits aside until it fits.)
 *
 * @param guardShare What the run does; another than the one that is checked shows that the check can fail.
 */
export function starvedStages(policy: OrderingPolicy, seed: number, guardShare: number = GUARD_SHARE): string[] {
  const seats = 1 + (seed % 3);
  const calls = poissonWorkflows(150, MEAN_GAP_MS / seats, MEAN_TOKENS, seed).map(
    (workflow, index): TraceWorkflow => ({ ...workflow, sloClass: (index + seed) % 3 === 0 ? 'batch' : 'interactive' }),
  );
  const { starved, controller } = watch();
  const queue = { interactiveOverdueMs: OVERDUE_MS, batchOverdueMs: OVERDUE_MS, guardShare };
  runSimulation(testScenario(oneSeatEngines(seats), calls, { policy, controller, queue, seed }));
  return starved;
}

/** Follows the global queue of a run. */
function watch(): { readonly starved: string[]; readonly controller: SimController } {
  const starved: string[] = [];
  const waiting = new Map<string, Waiting>();
  const started = (stageId: string, nowMs: number) => {
    const { stage, passed, older } = waiting.get(stageId)!;
    waiting.delete(stageId);
    if (passed > (older + 1) / GUARD_SHARE) {
      starved.push(`stage ${stageId} was overdue and passed ${passed} times, ${older} times by older ones`);
    }
    for (const other of waiting.values()) {
      if (nowMs - other.stage.arrivalMs < OVERDUE_MS) continue;
      other.passed += 1;
      if (stage.arrivalMs <= other.stage.arrivalMs) other.older += 1;
    }
  };
  const traffic = {
    stageSubmitted: (stage: Stage) => waiting.set(stage.stageId, { stage, passed: 0, older: 0 }),
    stageStarted: started,
    stageReturned: (stageId: string) => starved.push(`stage ${stageId} came back although there is memory`),
    stageEnded: (stageId: string) => waiting.delete(stageId),
  };
  return { starved, controller: { intervalMs: 1e9, traffic, tick: () => undefined } };
}
