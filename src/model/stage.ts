import { KeyMemo } from './key-memo.js';
import type { TextVector } from './text-vector.js';

/** What a class promises: the deadline is for the whole workflow, the latency targets are for each stage. */
export interface SloClass {
  readonly name: string;
  /** `interactive` work goes first; `batch` work has a loose deadline and never starves. */
  readonly kind: 'interactive' | 'batch';
  /** Deadline of a workflow after its arrival, when the request names none. */
  readonly deadlineMs: number;
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  /** Value of a workflow of this class relative to others (1 is usual). */
  readonly weight: number;
}

/** What is known of a stage before it runs, besides its sizes; input of the predictors. */
export interface StageFeatures {
  readonly toolsOffered: number;
  readonly toolChoice: 'none' | 'auto' | 'required' | 'named';
  readonly responseFormat: 'text' | 'json_object' | 'json_schema';
  readonly lastMessageKind: 'system' | 'user' | 'assistant' | 'tool' | 'none';
  readonly messageCount: number;
  readonly temperature: number | undefined;
  readonly reasoning: boolean;
  readonly stream: boolean;
  /** Length of the last message; an estimate from bytes will do. Absent: unknown. */
  readonly lastMessageTokens?: number | undefined;
  /** The tool that was called last before the call, where the last message is what a tool said. */
  readonly lastTool?: string | undefined;
  /** Hashed words of the last message, see `textGrams`. Absent where texts are not looked at. */
  readonly textGrams?: readonly number[] | undefined;
  /** What a sentence embedder says of the last message. Absent where none is asked, or where it was not ready in time. */
  readonly textVector?: TextVector | undefined;
}

/** One LLM call of a workflow, as it enters the house. Times are on the clock of the process that holds it. */
export interface Stage {
  /** Unique; also the request id that clients see. */
  readonly stageId: string;
  readonly workflowId: string;
  readonly tenant: string;
  /** Kind of workflow (application); `default` when nothing names one. */
  readonly template: string;
  /** The agent's role; `default` when nothing names one. */
  readonly role: string;
  /** Which agent of that role, where something tells several apart. */
  readonly agent?: string | undefined;
  /** Served model name, aliases resolved; of a call for an adapter the model that it sits on. */
  readonly model: string;
  /** The LoRA adapter of the model that was asked for; absent where the model itself was. */
  readonly adapter?: string | undefined;
  readonly sloClass: string;
  /** When this stage arrived. */
  readonly arrivalMs: number;
  /** When its workflow must be done. */
  readonly deadlineMs: number;
  readonly weight: number;
  /** Prompt length; an estimate from bytes unless `promptTokensExact`. */
  readonly promptTokens: number;
  readonly promptTokensExact: boolean;
  /** Upper bound on the output: the smaller of the request's limit and the room the model's context leaves. Of each answer, where several are asked for. */
  readonly maxTokens: number;
  /** Answers to the prompt that are asked for at once (`n`); each takes KV memory of its own. Absent: one. */
  readonly choices?: number | undefined;
  /** The request names the limit itself, so vLLM refuses it where prompt and limit exceed the context; without, an answer is cut there. */
  readonly outputLimited?: boolean | undefined;
  /** Bytes that the queued request holds in memory. */
  readonly bodyBytes: number;
  /** Hashes of the growing prompt prefix, oldest first, for prefix affinity; empty when unknown. */
  readonly prefixHashes: readonly string[];
  readonly features: StageFeatures;
  /** The client says that this is the last call of its workflow. */
  readonly finalStage?: boolean | undefined;
  /** The only engine that can serve it: it continues a response which that engine keeps. */
  readonly onlyEngineId?: string | undefined;
}

/** Output tokens of finished calls of one kind. Never changed: each further call makes a new one. */
export interface OutputTrail {
  readonly calls: number;
  readonly lastTokens: number;
  readonly beforeLastTokens: number | undefined;
  readonly meanTokens: number;
  readonly maxTokens: number;
}

/** What a workflow did before a stage, as far as finished calls have shown it: calls that run beside the stage are not in it. */
export interface WorkflowPast {
  /** Outputs of the stage's agent, of its role, and of all calls; absent before the first has finished. */
  readonly ofAgent: OutputTrail | undefined;
  readonly ofRole: OutputTrail | undefined;
  readonly ofWorkflow: OutputTrail | undefined;
  /** Outputs that the stage can build on: of the calls that finished between the last two times that a call began after others had finished. */
  readonly ofParents: OutputTrail | undefined;
  /** Stages of the agent that began before. */
  readonly agentIndex: number;
  /** How often a call of the workflow has begun after others had finished: the layer, where agents work in layers. */
  readonly generation: number;
  /** Prompt tokens of the agent's stage before. */
  readonly lastPromptTokens: number | undefined;
  /** Prompt tokens of the workflow's first stage. */
  readonly firstPromptTokens: number | undefined;
  /** Whether the agent's last answer that could call a tool did. */
  readonly agentToolCalled: boolean | undefined;
  /** Of the finished calls that tell: share that called a tool, how many did in a row up to now, and whether the last one did. */
  readonly toolShare: number | undefined;
  readonly toolRun: number;
  readonly lastToolCalled: boolean | undefined;
  /** Roles of the last call that finished, and of the one before it. */
  readonly lastRole: string | undefined;
  readonly beforeLastRole: string | undefined;
}

/** The name that was asked for, aliases resolved: of the adapter, or else of the model. */
export function servedName({ model, adapter }: Pick<Stage, 'model' | 'adapter'>): string {
  return adapter ?? model;
}

/** Whose calls of a model continue each other: an agent, or all of a role where nothing tells agents apart, in one workflow. */
export function sessionOf(stage: Stage): string {
  // All that look at a stage do so one after the other; a name that is made once is hashed once.
  if (stage !== named) {
    const { workflowId, role, agent, model } = stage;
    // What is the same for many workflows is put together once: piece by piece it would leave a chain of strings behind.
    const rest = agent === undefined ? ROLE_SESSION.of(role, model) : `\n${role}\n${agent}\n${model}`;
    session = workflowId + rest;
    named = stage;
  }
  return session;
}

const ROLE_SESSION = new KeyMemo((role, model) => `\n${role}\n\n${model}`);
let named: Stage | undefined;
let session = '';

/** What the workflow tracker adds before prediction. */
export interface StageContext {
  /** How many stages of this workflow came before (0 for the first). */
  readonly stageIndex: number;
  /** How many stages of this workflow with this role came before. */
  readonly invocationIndex: number;
  /** Stages of the workflow that are under way when this one begins. */
  readonly liveStages: number;
  /** Output tokens of the last finished stage of this role in this workflow. */
  readonly lastRoleOutputTokens: number | undefined;
  /** Output tokens of the last finished stage of this workflow. */
  readonly lastOutputTokens: number | undefined;
  /** Milliseconds since the last stage of the workflow ended; undefined for the first. */
  readonly gapMs: number | undefined;
  /** More of the same, for the trained predictors; absent where nobody tracks it. */
  readonly past?: WorkflowPast | undefined;
}

/** What is expected of the output of a call, in tokens. */
export interface OutputForecast {
  /** Calls of one kind (model, template, role) err alike. */
  readonly kind: string;
  readonly mean: number;
  readonly q50: number;
  readonly q95: number;
}

/**
 * What prompt and outputs take of a pool whose tokens are stated for the longest sequences, where short ones take more (sliding windows, recurrent state). Absent:
 * each token takes one.
 */
export interface PoolShare {
  readonly promptTokens: number;
  readonly perOutputToken: number;
}

/** What is expected of a stage, before it runs. Output tokens are of one answer, KV tokens of all that the stage asks for. */
export interface Prediction {
  /** Chance in [0, 1] that the answer is a tool call. */
  readonly toolProbability: number;
  readonly outputTokens: { readonly q30: number; readonly q50: number; readonly q95: number; readonly mean: number };
  /**
   * KV tokens of prompt and output, as the pools of engines count them: the median, and the calibrated bound. With a forecast a node may hold less for its calls
   * together than their bounds add up to; without one the bound is held.
   */
  readonly kvTokens: {
    readonly q50: number;
    readonly bound: number;
    readonly forecast?: OutputForecast | undefined;
    readonly share?: PoolShare | undefined;
  };
  /**
   * The same in bytes over all GPUs, by the architecture of the model, and how many of them are expected to be shared with earlier calls as a cached prefix.
   * Absent where the model is not known.
   */
  readonly kvBytes?: { readonly q50: number; readonly bound: number; readonly shared: number } | undefined;
  /** Service time of this stage alone on an idle engine, and of everything its workflow is expected to do after it. */
  readonly serviceMs: number;
  readonly remainingMs: number;
  /** Which estimator answered, for explanations: for example `role`, `template`, `global`, `prior`. */
  readonly source: string;
}

/** Every accepted request ends in exactly one of these. */
export const OUTCOME_KINDS = [
  'completed',
  'client_cancelled',
  'deadline',
  'rejected',
  'engine_failed',
  'internal',
] as const;
export type OutcomeKind = (typeof OUTCOME_KINDS)[number];

/** A count of each, before any has come. */
export function noOutcomes(): Record<OutcomeKind, number> {
  return { completed: 0, client_cancelled: 0, deadline: 0, rejected: 0, engine_failed: 0, internal: 0 };
}

/** How a stage ended, with the true counts where the engine told them. Durations in milliseconds. */
export interface StageOutcome {
  readonly kind: OutcomeKind;
  /** Why, for `rejected` and failures: a word of a fixed vocabulary. */
  readonly reason?: string | undefined;
  readonly httpStatus: number;
  readonly promptTokens?: number | undefined;
  readonly cachedTokens?: number | undefined;
  readonly outputTokens?: number | undefined;
  readonly finishReason?: string | undefined;
  readonly toolCalled?: boolean | undefined;
  /** From arrival at the gateway to the first content bytes sent to the client. */
  readonly ttftMs?: number | undefined;
  /** From arrival at the gateway to the end. */
  readonly durationMs: number;
  /** From leaving our queue to the end: the engine's part. */
  readonly serviceMs?: number | undefined;
}

/** The outcome as of one answer, where a stage asked for several: what it tells of the length of answers. */
export function outcomeOfOneAnswer({ choices = 1 }: Stage, outcome: StageOutcome): StageOutcome {
  const { outputTokens } = outcome;
  if (choices === 1 || outputTokens === undefined) return outcome;
  return { ...outcome, outputTokens: Math.ceil(outputTokens / choices) };
}

/** How a stage ended, apart from what the engine's answer tells. */
export type Ending = Pick<StageOutcome, 'kind' | 'reason' | 'httpStatus' | 'ttftMs' | 'durationMs' | 'serviceMs'>;

/** What the engine's answer tells of itself. */
export type AnswerPart = Pick<
  StageOutcome,
  'promptTokens' | 'cachedTokens' | 'outputTokens' | 'finishReason' | 'toolCalled'
>;

/** The outcome of an ending and an answer; all fields are written out, because a copy of an object of unknown shape goes through V8's runtime. */
export function outcomeOf(
  { kind, reason, httpStatus, ttftMs, durationMs, serviceMs: toldMs }: Ending,
  { promptTokens, cachedTokens, outputTokens, finishReason, toolCalled }: AnswerPart,
  serviceMs = toldMs,
): StageOutcome {
  return {
    kind,
    reason,
    httpStatus,
    promptTokens,
    cachedTokens,
    outputTokens,
    finishReason,
    toolCalled,
    ttftMs,
    durationMs,
    serviceMs,
  };
}
