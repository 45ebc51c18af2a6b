import type { OutputTrail, Stage, StageContext } from '../model/stage.js';
import { logBin } from './log-bin.js';
import type { LookedUpLength } from './output-length.js';
import type { WorkFeatures } from './remaining-work.js';
import { type RunningFeatures, roundedLog } from './running-statistics.js';

/** What is learned online of a call, whether a trained model serves or not. */
export interface OnlineFeatures {
  readonly work: WorkFeatures;
  readonly lookup: LookedUpLength;
}

/** One input of the trained models. */
export interface FeatureDefinition {
  readonly name: string;
  /**
   * - `log`: natural logarithm of 1 + the quantity, sign kept; - `bin`: four bins an octave; - `code`: place in a list of words;
   * - `share`: in [0, 1]; - `number`: as it is.
   */
  readonly kind: 'log' | 'bin' | 'code' | 'share' | 'number';
  readonly unit: string;
}

const define = (kind: FeatureDefinition['kind'], unit: string, ...names: string[]): FeatureDefinition[] =>
  names.map((name) => ({ name, kind, unit }));

/**
 * What the trained models see of a stage, in the order of their columns. All of it is known before the call; missing values are NaN.
 *
 * No names are among them: the running statistics say what has been seen of this role, agent, model and template, so that a role
 * nobody trained on is served like any other. With names as categories the error is the same within 3 % (measured on recorded traces).
 */
export const FEATURES: readonly FeatureDefinition[] = [
  ...define('log', 'tokens', 'prompt', 'prompt_growth', 'last_message', 'output_limit'),
  ...define('code', 'word', 'last_message_kind', 'tool_choice', 'response_format'),
  ...define('log', 'tools', 'tools_offered'),
  ...define('number', 'yes or no', 'reasoning'),
  ...define('number', 'degree', 'temperature'),
  ...define('log', 'milliseconds', 'gap'),
  ...define('bin', 'stages', 'stage_index', 'role_index', 'agent_index', 'generation'),
  ...define('log', 'tokens', 'agent_last', 'agent_before_last', 'agent_mean', 'agent_max'),
  ...define('log', 'tokens', 'role_last', 'role_before_last', 'role_mean', 'role_max'),
  ...define('log', 'tokens', 'workflow_last', 'workflow_before_last', 'workflow_mean', 'workflow_max'),
  ...define('log', 'tokens', 'parents_last', 'parents_mean', 'parents_max'),
  ...define('number', 'calls', 'parents_count', 'tool_run'),
  ...define('share', 'calls', 'tool_share'),
  ...define('number', 'yes or no', 'last_tool_called'),
  ...define(
    'log',
    'tokens, in steps of 0.25',
    'seen_q50',
    'seen_q95',
    'seen_role_q50',
    'seen_role_q95',
    'seen_model_q50',
  ),
  ...define('share', 'calls, in steps of 0.1', 'seen_tool_rate'),
  ...define('log', 'tokens', 'fresh'),
  ...define('number', 'logarithm of a ratio', 'prompt_over_first', 'agent_over_seen'),
  ...define('number', 'yes or no', 'agent_tool_called'),
  ...define('log', 'tokens, in steps of 0.25', 'seen_phase_q50', 'seen_prompt_q50'),
  ...define('log', 'milliseconds', 'attained'),
  ...define('log', 'milliseconds, in steps of 0.25', 'seen_remaining'),
  ...define('log', 'tokens, in steps of 0.25', 'seen_tool_q50'),
  ...define('number', 'stages', 'live_stages'),
  ...define('number', 'logarithm of a ratio', 'text_over_seen'),
  ...define('log', 'tokens', 'lookup_q50', 'history_q50'),
];

export const FEATURE_NAMES: readonly string[] = FEATURES.map((feature) => feature.name);

/** To be raised when the meaning of a feature changes while its name, kind and unit stay. */
const SCHEMA_VERSION = 2;

/** Changes whenever the meaning or the order of a feature does: a model trained on other columns is then refused. */
export const FEATURE_SCHEMA_HASH = fnv1a(
  JSON.stringify([SCHEMA_VERSION, FEATURES.map(({ name, kind, unit }) => [name, kind, unit])]),
);

/** Words of the codes in the order of what follows them. A message kind of `none` is unknown, and so missing. */
const MESSAGE_KINDS = ['system', 'user', 'assistant', 'tool'];
const TOOL_CHOICES = ['none', 'auto', 'required', 'named'];
const RESPONSE_FORMATS = ['text', 'json_object', 'json_schema'];

/** Writes the features of a stage into `into`, from `offset` on. */
export function fillFeatures(
  stage: Stage,
  context: StageContext,
  seen: RunningFeatures,
  { work, lookup }: OnlineFeatures,
  into: Float64Array,
  offset = 0,
): void {
  const { features } = stage;
  const { past } = context;
  const growth = past?.lastPromptTokens === undefined ? undefined : stage.promptTokens - past.lastPromptTokens;
  let at = offset;
  const put = (value: number) => {
    into[at++] = value;
  };
  put(log(stage.promptTokens));
  put(log(growth));
  put(log(features.lastMessageTokens));
  put(log(stage.outputLimited ? stage.maxTokens : undefined));
  put(code(MESSAGE_KINDS, features.lastMessageKind));
  put(code(TOOL_CHOICES, features.toolChoice));
  put(code(RESPONSE_FORMATS, features.responseFormat));
  put(log(features.toolsOffered));
  put(features.reasoning ? 1 : 0);
  put(features.temperature ?? Number.NaN);
  put(log(context.gapMs));
  put(logBin(context.stageIndex));
  put(logBin(context.invocationIndex));
  put(logBin(past?.agentIndex ?? context.invocationIndex));
  put(logBin(past?.generation ?? context.stageIndex));
  for (const trail of [past?.ofAgent, past?.ofRole, past?.ofWorkflow]) putTrail(trail, put, true);
  putTrail(past?.ofParents, put, false);
  put(past?.ofParents?.calls ?? Number.NaN);
  put(past?.toolRun ?? Number.NaN);
  put(past?.toolShare ?? Number.NaN);
  put(past?.lastToolCalled === undefined ? Number.NaN : Number(past.lastToolCalled));
  put(seen.q50);
  put(seen.q95);
  put(seen.roleQ50);
  put(seen.roleQ95);
  put(seen.modelQ50);
  put(seen.toolRate);
  put(log(growth === undefined ? undefined : growth - (past?.ofAgent?.lastTokens ?? 0)));
  put(ratio(stage.promptTokens, past?.firstPromptTokens));
  put(past?.ofAgent === undefined ? Number.NaN : Math.log1p(past.ofAgent.meanTokens) - seen.q50);
  put(past?.agentToolCalled === undefined ? Number.NaN : Number(past.agentToolCalled));
  put(seen.phaseQ50);
  put(seen.promptQ50);
  put(log(work.attainedMs));
  put(work.medianMs === undefined ? Number.NaN : roundedLog(work.medianMs));
  put(seen.toolQ50);
  put(context.liveStages);
  put(seen.textOverSeen);
  // Of all calls or of none: that says nothing of this one.
  put(lookup.source === 'global' || lookup.source === 'prior' ? Number.NaN : log(lookup.q50));
  put(log(lookup.historyQ50));
}

function putTrail(trail: OutputTrail | undefined, put: (value: number) => void, withBeforeLast: boolean): void {
  put(log(trail?.lastTokens));
  if (withBeforeLast) put(log(trail?.beforeLastTokens));
  put(log(trail?.meanTokens));
  put(log(trail?.maxTokens));
}

function log(quantity: number | undefined): number {
  if (quantity === undefined) return Number.NaN;
  return quantity < 0 ? -Math.log1p(-quantity) : Math.log1p(quantity);
}

function ratio(quantity: number, base: number | undefined): number {
  return base === undefined ? Number.NaN : Math.log1p(quantity) - Math.log1p(base);
}

function code(words: readonly string[], word: string): number {
  const place = words.indexOf(word);
  return place < 0 ? Number.NaN : place;
}

/** 32-bit FNV-1a in hexadecimal. It tells schemas apart; it protects nothing. */
function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
