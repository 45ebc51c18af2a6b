import { isObject } from '../../model/json.js';
import type { FieldReader } from './fields.js';
import type { GenerationRequest, RequestContext, ToolChoice, ToolSpec } from './generation-request.js';
import { badValue, modelNotFound, pythonFloat, validationError } from './http-error.js';
import type { ChatMessage } from './tokens.js';

/** What vLLM checks after the types of the fields: the model, tools, limits and sampling parameters. Each throws its refusal. */

export function throwIssues(fields: FieldReader): void {
  if (fields.issues.length > 0) throw validationError(fields.issues);
}

export function judgeModel(model: string | undefined, context: Pick<RequestContext, 'servedModelNames'>): string {
  if (!model) return context.servedModelNames[0]!;
  if (!context.servedModelNames.includes(model)) throw modelNotFound(model);
  return model;
}

export function checkStreamOptions(fields: FieldReader, stream: boolean): void {
  if (fields.raw('stream_options') && !stream) {
    throw badValue('Stream options can only be defined when `stream=True`.', 'stream_options');
  }
}

export function judgeToolChoice(choice: unknown, rawTools: unknown, tools: readonly ToolSpec[]): ToolChoice {
  if (Array.isArray(rawTools) && rawTools.length === 0) {
    throw badValue(
      '`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.',
      'tools',
    );
  }
  if (tools.length === 0) {
    if (choice !== undefined && choice !== null && choice !== 'none' && choice !== 'auto') {
      throw badValue('When using `tool_choice`, `tools` must be set.', 'tool_choice');
    }
    return { kind: 'none' };
  }
  if (choice === undefined || choice === null || choice === 'auto') return { kind: 'auto' };
  if (choice === 'none' || choice === 'required') return { kind: choice };
  const named = isObject(choice) && isObject(choice['function']) ? choice['function']['name'] : undefined;
  if (typeof named === 'string' && tools.some((tool) => tool.name === named)) return { kind: 'named', name: named };
  throw badValue('The tool specified in `tool_choice` does not match any of the specified `tools`', 'tool_choice');
}

export function judgeToolParser(choice: ToolChoice, context: RequestContext): void {
  if (choice.kind === 'auto' && !(context.autoToolChoice && context.toolParser)) {
    throw badValue('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set');
  }
  if (context.toolParser) return;
  if (choice.kind === 'required') throw badValue('tool_choice="required" requires --tool-call-parser to be set');
  if (choice.kind === 'named') {
    throw badValue(`tool_choice=function "${choice.name}" requires --tool-call-parser to be set`);
  }
}

export function rejectMedia(messages: readonly ChatMessage[], model: string): void {
  for (const { content } of messages) {
    if (!Array.isArray(content)) continue;
    if (content.some((part) => isObject(part) && /image|audio|video/.test(String(part['type'])))) {
      throw badValue(`${model} is not a multimodal model`);
    }
  }
}

/**
 * The limit on the answer: what is asked for, when it fits; else what the context leaves. From 0.32 on, what is asked for beside a prompt that leaves less is cut.
 *
 * @param name How the API calls the limit.
 */
export function judgeMaxTokens(
  asked: number | undefined,
  promptTokens: number,
  context: Pick<RequestContext, 'maxModelLen' | 'version'>,
  name = 'max_tokens',
): number {
  const limit = context.maxModelLen;
  if (asked !== undefined && asked < 1) {
    throw badValue(`${name} must be at least 1, got ${asked}.`, name, String(asked));
  }
  if (asked !== undefined && asked > limit) {
    throw badValue(
      `${name}=${asked} cannot be greater than max_model_len=max_total_tokens=${limit}. Please request fewer output tokens.`,
      name,
      String(asked),
    );
  }
  if (context.version !== '0.29.0') return judgePromptAlone(asked, promptTokens, limit);
  const requested = asked ?? 1;
  if (promptTokens + requested > limit) {
    // The real server stops counting the prompt at the first token that is one too many.
    const atLeast = limit - requested + 1;
    throw badValue(
      `This model's maximum context length is ${limit} tokens. However, you requested ${requested} output tokens and your prompt contains ` +
        `at least ${atLeast} input tokens, for a total of at least ${atLeast + requested} tokens. Please reduce the length of the ` +
        'input prompt or the number of requested output tokens.',
      'input_tokens',
      String(atLeast),
    );
  }
  return asked ?? limit - promptTokens;
}

function judgePromptAlone(asked: number | undefined, promptTokens: number, limit: number): number {
  if (promptTokens < limit) return Math.min(asked ?? limit, limit - promptTokens);
  throw badValue(
    `This model's maximum context length is ${limit} tokens. However, your prompt contains at least ${limit + 1} input tokens, which exceeds ` +
      'this limit even without any output tokens. Please reduce the length of the input prompt.',
    'input_tokens',
    String(limit + 1),
  );
}

export function judgeSampling(
  fields: FieldReader,
  common: Pick<GenerationRequest, 'n' | 'minTokens'> & { readonly temperature: number | undefined },
  maxTokens: number,
): void {
  const { temperature, n, minTokens } = common;
  if (n < 1) throw badValue(`n must be at least 1, got ${n}.`);
  if (temperature !== undefined && temperature < 0) {
    throw badValue(
      `temperature must be non-negative, got ${pythonFloat(temperature)}.`,
      'temperature',
      pythonFloat(temperature),
    );
  }
  if (temperature !== undefined && temperature > 2) {
    throw badValue(
      `temperature must be in [0, 2], got ${pythonFloat(temperature)}.`,
      'temperature',
      pythonFloat(temperature),
    );
  }
  const topP = fields.float('top_p');
  if (topP !== undefined && !(topP > 0 && topP <= 1)) {
    throw badValue(`top_p must be in (0, 1], got ${pythonFloat(topP)}.`, 'top_p', pythonFloat(topP));
  }
  const topK = fields.int('top_k');
  if (topK !== undefined && topK < -1) throw badValue(`top_k must be 0 (disable), or at least 1, got ${topK}.`);
  for (const name of ['presence_penalty', 'frequency_penalty'] as const) {
    const penalty = fields.float(name);
    if (penalty !== undefined && Math.abs(penalty) > 2)
      throw badValue(`${name} must be in [-2, 2], got ${pythonFloat(penalty)}.`);
  }
  const logprobs = fields.int('top_logprobs');
  if (logprobs !== undefined && logprobs > 20) {
    throw badValue(
      `Requested sample logprobs of ${logprobs}, which is greater than max allowed: 20`,
      'logprobs',
      String(logprobs),
    );
  }
  throwIssues(fields);
  if (minTokens > maxTokens)
    throw badValue(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`);
  if (temperature === 0 && n > 1) throw badValue(`n must be 1 when using greedy sampling, got ${n}.`);
}
