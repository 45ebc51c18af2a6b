import type { Prediction, Stage, StageFeatures } from '../../model/stage.js';
import type { KnownQueues } from '../model-queue.js';

/** A stage to be replayed. Plain data: a replay may happen on another thread. */
export interface ReplayStage {
  readonly role: string;
  readonly model: string;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** See {@link Stage.outputLimited} and {@link StageFeatures.stream}. */
  readonly outputLimited: boolean;
  readonly stream: boolean;
  /** What it generates: what it did, or what a like stage did, or what is expected. */
  readonly outputTokens: number;
  /** Places, in the same workflow, of the stages that must end before. */
  readonly waitFor: readonly number[];
  /** After the last of them; for a stage that waits for none, after the start of its workflow in the replay. */
  readonly delayMs: number;
  /** Place of the stage whose leading tokens it shares; undefined: shares with the first stages of its template. */
  readonly prefixOf: number | undefined;
  readonly sharedTokens: number;
  /** What the scheduler was told of it, right or wrong; a replay tells it the same. */
  readonly prediction: Prediction;
  /** When the replay begins it is over (only its prefix matters then), or an engine has it, or it is still to come. */
  readonly state: 'done' | 'running' | 'waiting';
}

export interface ReplayWorkflow {
  readonly workflowId: string;
  readonly tenant: string;
  readonly template: string;
  readonly sloClass: string;
  /** In the replay, which begins at 0. Those that were under way come at 0, running ones first. */
  readonly atMs: number;
  /** After `atMs`; negative for a workflow that is late already. */
  readonly deadlineMs: number;
  /** Its attainment counts. Those that only keep the fleet loaded at the end do not. */
  readonly counts: boolean;
  /** What had happened before the replay. */
  readonly before: { readonly ageMs: number; readonly startedStages: number; readonly attainedServiceMs: number };
  readonly stages: readonly ReplayStage[];
}

/** Asks how well each ordering would do from here on. */
export interface ReplayRequest {
  readonly workflows: readonly ReplayWorkflow[];
  /** What the scheduler that asks has learnt of its queues; nothing where absent. */
  readonly knownQueues?: KnownQueues['byModel'];
  /** One workflow in so many is there, to be replayed on one node in so many. */
  readonly thinning: number;
  /** The replay ends here; what has not ended is a miss. */
  readonly horizonMs: number;
  /** Names of the orderings to try: the one that serves, then the most interesting. The first two are always tried. */
  readonly candidates: readonly string[];
  /** CPU milliseconds for all replays together; when they are used up the rest of the candidates goes without. */
  readonly budgetMs: number;
}

export interface ReplayScore {
  readonly candidate: string;
  /** Share of the counted workflows that was in time, in [0, 1]. */
  readonly attainment: number;
  /** Counted workflows that are in time here and late under the first candidate, and the other way round; to the latter are added as many as that one keeps in time with the work that is left behind here. */
  readonly gained: number;
  readonly lost: number;
}

export interface ReplayResult {
  readonly scores: readonly ReplayScore[];
  readonly costMs: number;
}

/** Replays traffic through a model of the fleet. Outside of the decisions, because only the simulator can. */
export interface ReplayJudge {
  evaluate(request: ReplayRequest): ReplayResult;
}
