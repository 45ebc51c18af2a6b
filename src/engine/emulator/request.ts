import { isObject } from '../../model/json.js';
import { FieldReader } from './fields.js';
import type { GenerationRequest, PromptSpec, ReplayHints, RequestContext, ToolSpec } from './generation-request.js';
import { badValue, envelope, validationError } from './http-error.js';
import { ANY_OBJECT } from './json-frame.js';
import {
  checkStreamOptions,
  judgeMaxTokens,
  judgeModel,
  judgeSampling,
  judgeToolChoice,
  judgeToolParser,
  rejectMedia,
  throwIssues,
} from './judge.js';
import { type ChatMessage, renderChat, tokenize } from './tokens.js';

/** Parses and judges a body of /v1/chat/completions; throws the {@link HttpError} that vLLM would answer. */
export function parseChatRequest(body: unknown, context: RequestContext): GenerationRequest {
  const fields = readBody(body);
  const common = readCommon(fields);
  const maxCompletionTokens = fields.int('max_completion_tokens');
  const messages = readMessages(fields);
  const tools = readTools(fields);
  const responseFormat = fields.object('response_format');
  throwIssues(fields);
  checkStreamOptions(fields, common.stream);
  const toolChoice = judgeToolChoice(fields.raw('tool_choice'), fields.raw('tools'), tools);
  if (responseFormat?.['type'] === 'json_schema' && !responseFormat['json_schema']) {
    throw badValue(
      "When response_format type is 'json_schema', the 'json_schema' field must be provided.",
      'response_format',
    );
  }
  const model = judgeModel(common.model, context);
  judgeToolParser(toolChoice, context);
  if (messages.length === 0) {
    throw badValue('Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  rejectMedia(messages, model);
  const text = renderChat(messages, tools.length > 0 ? fields.raw('tools') : undefined, true);
  const prompt = promptOf(tokenize(text), text, common);
  const maxTokens = judgeMaxTokens(maxCompletionTokens ?? common.maxTokens, prompt.tokens, context);
  judgeSampling(fields, common, maxTokens);
  return {
    ...common,
    kind: 'chat',
    model,
    prompts: [prompt],
    maxTokens,
    json: wantedJson(responseFormat, responseFormat?.['json_schema']),
    echo: false,
    toolChoice,
    tools,
  };
}

/** The schema of the object that `format` asks for; undefined where it asks for none. */
export function wantedJson(format: Readonly<Record<string, unknown>> | null | undefined, named: unknown): unknown {
  if (format?.['type'] === 'json_object') return ANY_OBJECT;
  if (format?.['type'] !== 'json_schema') return undefined;
  return (isObject(named) && named['schema']) || ANY_OBJECT;
}

/** Parses and judges a body of /v1/completions. */
export function parseCompletionRequest(body: unknown, context: RequestContext): GenerationRequest {
  const fields = readBody(body);
  const common = readCommon(fields);
  const echo = fields.bool('echo') ?? false;
  throwIssues(fields);
  checkStreamOptions(fields, common.stream);
  const raw = readPrompts(fields.raw('prompt'));
  if (raw.length === 0) throw badValue('Either prompt or prompt_embeds must be provided and non-empty.', 'prompt');
  if (fields.raw('suffix')) {
    if (context.version === '0.29.0') throw badValue('suffix is not currently supported');
    throw envelope(
      400,
      'BadRequestError',
      'suffix is only supported for models with FIM completion rendering',
      'suffix',
    );
  }
  const model = judgeModel(common.model, context);
  const prompts = raw.map((prompt) =>
    typeof prompt === 'string'
      ? promptOf(tokenize(prompt), prompt, common)
      : promptOf(Uint32Array.from(prompt), '', common),
  );
  const echoOnly = echo && common.maxTokens === 0;
  const longest = Math.max(...prompts.map((prompt) => prompt.tokens));
  const maxTokens = echoOnly ? 1 : judgeMaxTokens(common.maxTokens ?? 16, longest, context);
  judgeSampling(fields, common, maxTokens);
  return {
    ...common,
    kind: 'completion',
    model,
    prompts,
    maxTokens: echoOnly ? 0 : maxTokens,
    json: undefined,
    echo,
    toolChoice: { kind: 'none' },
    tools: [],
  };
}

export function readBody(body: unknown): FieldReader {
  if (isObject(body)) return new FieldReader(body);
  throw validationError([
    {
      type: 'model_attributes_type',
      loc: ['body'],
      msg: 'Input should be a valid dictionary or object to extract fields from',
      input: body,
    },
  ]);
}

export function readMessages(fields: FieldReader): ChatMessage[] {
  const messages = fields.raw('messages');
  if (messages === undefined) {
    fields.issue('missing', ['messages'], 'Field required', fields.body);
    return [];
  }
  if (!Array.isArray(messages)) {
    fields.issue('list_type', ['messages'], 'Input should be a valid list', messages);
    return [];
  }
  for (const [index, message] of messages.entries()) {
    if (isObject(message) && typeof message['role'] === 'string') continue;
    // The real server lists every kind of message that it is not; the first is what its `param` names.
    fields.issue(
      'missing',
      ['messages', index, 'ChatCompletionDeveloperMessageParam', 'role'],
      'Field required',
      message,
    );
  }
  return messages as ChatMessage[];
}

export interface CommonFields
  extends Pick<
    GenerationRequest,
    | 'n'
    | 'minTokens'
    | 'ignoreEos'
    | 'stop'
    | 'includeStop'
    | 'stream'
    | 'includeUsage'
    | 'continuousUsage'
    | 'streamInterval'
    | 'priority'
    | 'requestId'
    | 'cacheSalt'
    | 'seed'
    | 'hints'
  > {
  readonly model: string | undefined;
  readonly maxTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly truncatePromptTokens: number | undefined;
}

/** Fields that both kinds share, read in the order in which pydantic names their faults. */
export function readCommon(fields: FieldReader): CommonFields {
  const model = fields.string('model');
  const maxTokens = fields.int('max_tokens');
  const n = fields.int('n');
  const seed = fields.int('seed');
  const stop = fields.strings('stop');
  const stream = fields.bool('stream') ?? false;
  const streamOptions = fields.object('stream_options');
  const temperature = fields.float('temperature');
  const common = {
    model,
    maxTokens,
    n: n ?? 1,
    seed: seed ?? 0,
    stop,
    stream,
    temperature,
    includeUsage: streamOptions?.['include_usage'] === true,
    continuousUsage: streamOptions?.['include_usage'] === true && streamOptions['continuous_usage_stats'] === true,
    streamInterval: Math.max(1, fields.int('stream_interval') ?? 1),
    minTokens: fields.int('min_tokens') ?? 0,
    ignoreEos: fields.bool('ignore_eos') ?? false,
    includeStop: fields.bool('include_stop_str_in_output') ?? false,
    truncatePromptTokens: fields.int('truncate_prompt_tokens'),
    priority: fields.int64('priority') ?? 0,
    requestId: fields.string('request_id'),
    cacheSalt: fields.string('cache_salt', 1),
    hints: readHints(fields),
  };
  return common;
}

function readHints(fields: FieldReader): ReplayHints {
  const xargs = fields.object('vllm_xargs');
  if (!xargs) return {};
  for (const [name, value] of Object.entries(xargs)) {
    if (!isObject(value)) continue;
    const more = { param: `body.vllm_xargs.${name}` };
    const wrong = (branch: string, type: string, what: string) =>
      fields.issue(type, ['vllm_xargs', name, branch], `Input should be a valid ${what}`, value, more);
    wrong('str', 'string_type', 'string');
    wrong('int', 'int_type', 'integer');
    wrong('float', 'float_type', 'number');
    wrong('list[union[str,int,float]]', 'list_type', 'list');
  }
  const count = (name: string) => {
    const value = Math.round(Number(xargs[name] ?? Number.NaN));
    return value >= 1 ? value : undefined;
  };
  const outputTokens = count('maestro_output_tokens');
  const promptTokens = count('maestro_prompt_tokens');
  const blockTokens = count('maestro_block_tokens');
  const hashIds = xargs['maestro_hash_ids'];
  const toolCall = xargs['maestro_tool_call'];
  return {
    ...(outputTokens === undefined ? {} : { outputTokens }),
    ...(promptTokens === undefined ? {} : { promptTokens }),
    ...(blockTokens === undefined ? {} : { blockTokens }),
    ...(Array.isArray(hashIds) ? { hashIds } : {}),
    ...(toolCall === undefined ? {} : { toolCall: readToolCallHint(toolCall) }),
  };
}

function readToolCallHint(value: unknown): boolean | string {
  if (value === true || value === 1 || value === '1' || value === 'true') return true;
  if (typeof value === 'string' && value !== '' && value !== '0' && value !== 'false') return value;
  return false;
}

function readTools(fields: FieldReader): ToolSpec[] {
  const tools = fields.raw('tools');
  if (!Array.isArray(tools)) return [];
  return tools.map((tool: unknown, index) => {
    const declared = isObject(tool) ? tool['function'] : undefined;
    if (!isObject(declared)) {
      fields.issue('missing', ['tools', index, 'function'], 'Field required', tool);
      return { name: '', parameters: undefined };
    }
    return { name: String(declared['name']), parameters: declared['parameters'] };
  });
}

function readPrompts(prompt: unknown): (string | number[])[] {
  if (typeof prompt === 'string') return prompt === '' ? [] : [prompt];
  if (!Array.isArray(prompt) || prompt.length === 0) return [];
  if (prompt.every((entry) => typeof entry === 'number')) return [prompt];
  return prompt.filter((entry) => typeof entry === 'string' || Array.isArray(entry));
}

export function promptOf(ids: Uint32Array, text: string, common: CommonFields): PromptSpec {
  const tokens = common.hints.promptTokens ?? ids.length;
  return { ids, text, tokens: Math.max(1, Math.min(tokens, common.truncatePromptTokens ?? tokens)) };
}
