import type { ReplayStage, ReplayWorkflow } from '../../src/global/portfolio/replay.js';
import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { Prediction } from '../../src/model/stage.js';
import type { Arrival, SimRow } from '../types.js';
import { BlockIds, type BlockRuns } from './block-ids.js';

export interface ReplayArrivals {
  /** In order of time. */
  readonly arrivals: readonly Arrival[];
  /** What the scheduler is told of each stage, by the id of its row. */
  readonly predictions: ReadonlyMap<string, Prediction>;
  /** The replay proper begins then; before it, prompts of workflows under way are laid into the prefix caches. */
  readonly beginMs: number;
}

/** Long enough to compute whatever fits the caches; idle virtual time costs nothing. */
const WARM_UP_MS = 30 * 60_000;
/** Tokens that are laid into the caches beforehand, as a share of the fleet's KV memory. */
const WARM_SHARE = 0.6;

/**
 * The workflows of a replay as arrivals of a run, with prompts that share as many leading blocks as the recorded ones shared tokens.
 *
 * @param warmTokens KV memory of the fleet, in tokens; 0 leaves the caches cold.
 */
export function replayArrivals(workflows: readonly ReplayWorkflow[], warmTokens: number): ReplayArrivals {
  const predictions = new Map<string, Prediction>();
  const blocks = new BlockIds();
  const warm: Arrival[] = [];
  let spare = WARM_SHARE * warmTokens;
  const beginMs = warmTokens > 0 ? WARM_UP_MS : 0;
  const arrivals = workflows.map((workflow): Arrival => {
    const { workflowId, tenant, template, sloClass, atMs, deadlineMs, before, stages } = workflow;
    const prompts: BlockRuns[] = [];
    for (const stage of stages) prompts.push(blocks.prompt(stage, template, prompts));
    const newest = stages.findLastIndex(({ state }) => state !== 'waiting');
    if (newest >= 0 && stages[newest]!.promptTokens <= spare) {
      spare -= stages[newest]!.promptTokens;
      const row = {
        ...rowOf(workflow, newest, prompts[newest]!),
        request_id: `warm:${workflowId}`,
        output_length: 1,
        timestamp: 0,
      };
      const { wait_for: _, ...root } = row;
      predictions.set(root.request_id, stages[newest]!.prediction);
      warm.push({
        atMs: 0,
        workflow: { workflowId: `warm:${workflowId}`, tenant, template, sloClass, arrivalMs: 0, rows: [root] },
        sloClass,
        deadlineMs: WARM_UP_MS,
      });
    }
    const rows = stages.flatMap((stage, index) =>
      stage.state === 'done' ? [] : [rowOf(workflow, index, prompts[index]!)],
    );
    for (const [index, stage] of stages.entries()) predictions.set(`${workflowId}/${index}`, stage.prediction);
    return {
      atMs: beginMs + atMs,
      workflow: { workflowId, tenant, template, sloClass, arrivalMs: 0, rows },
      sloClass,
      deadlineMs,
      before,
    };
  });
  // Those that run now come first among the arrivals, so they are laid down last and stay longest.
  return { arrivals: [...warm.reverse(), ...arrivals.sort((a, b) => a.atMs - b.atMs)], predictions, beginMs };
}

function rowOf({ workflowId, stages }: ReplayWorkflow, index: number, prompt: BlockRuns): SimRow {
  const stage: ReplayStage = stages[index]!;
  const { waitFor, delayMs, role, model, promptTokens, outputTokens, maxTokens, outputLimited, stream } = stage;
  const timing =
    waitFor.length > 0
      ? { wait_for: waitFor.map((before) => `${workflowId}/${before}`), delay: delayMs }
      : { timestamp: delayMs };
  return {
    request_id: `${workflowId}/${index}`,
    workflow_id: workflowId,
    ...timing,
    role,
    model,
    input_length: promptTokens,
    output_length: outputTokens,
    max_tokens: maxTokens,
    outputLimited,
    stream,
    block_tokens: DEFAULT_BLOCK_TOKENS,
    hash_runs: prompt.map(([firstId, count]) => [firstId, count]),
  };
}
