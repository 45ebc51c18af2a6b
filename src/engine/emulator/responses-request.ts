import { isObject } from '../../model/json.js';
import type { GenerationRequest, RequestContext, ToolSpec } from './generation-request.js';
import { badValue, envelope } from './http-error.js';
import { judgeMaxTokens, judgeModel, judgeToolChoice, judgeToolParser, throwIssues } from './judge.js';
import { promptOf, readBody, readCommon, wantedJson } from './request.js';
import type { ResponsesEcho } from './responses-frames.js';
import { type ChatMessage, renderChat, tokenize } from './tokens.js';

/** A request of /v1/responses, and what its answer repeats of it. */
export interface ResponsesRequest {
  readonly generation: GenerationRequest;
  readonly echo: ResponsesEcho;
  readonly store: boolean;
  /** Conversation up to this request, for one that continues it. */
  readonly messages: readonly ChatMessage[];
}

/** What is stored of an earlier response, with VLLM_ENABLE_RESPONSES_API_STORE=1. */
export interface StoredConversation {
  messages(id: string): readonly ChatMessage[] | undefined;
  readonly enabled: boolean;
}

/** Parses and judges a body of /v1/responses. */
export function parseResponsesRequest(
  body: unknown,
  context: RequestContext,
  stored: StoredConversation,
): ResponsesRequest {
  const fields = readBody(body);
  const common = readCommon(fields);
  const maxOutputTokens = fields.int('max_output_tokens');
  const instructions = fields.string('instructions') ?? null;
  const previous = fields.string('previous_response_id') ?? null;
  const background = fields.bool('background') ?? false;
  const store = fields.bool('store') ?? true;
  const rawInput = fields.raw('input');
  // The body that pydantic shows already holds the default that a validator filled in.
  if (rawInput === undefined) {
    fields.issue('missing', ['input'], 'Field required', {
      ...fields.body,
      tool_choice: fields.raw('tool_choice') ?? 'none',
    });
  }
  const format = textFormat(fields.raw('text'));
  throwIssues(fields);
  if (background && !stored.enabled) throw noStore();
  const earlier = previous === null ? [] : stored.messages(previous);
  if (!earlier) throw responseNotFound(previous!);
  const model = judgeModel(common.model, context);
  const rawTools = fields.raw('tools');
  const tools = readTools(rawTools);
  const toolChoice = judgeToolChoice(toChatChoice(fields.raw('tool_choice')), rawTools, tools);
  judgeToolParser(toolChoice, {
    ...context,
    autoToolChoice: true,
    toolParser: context.toolParser || toolChoice.kind === 'auto',
  });
  const messages = [
    ...(instructions === null ? [] : [{ role: 'system', content: instructions }]),
    ...earlier,
    ...inputMessages(rawInput),
  ];
  const text = renderChat(messages, tools.length > 0 ? rawTools : undefined, true);
  const prompt = promptOf(tokenize(text), text, common);
  const maxTokens = judgeMaxTokens(maxOutputTokens, prompt.tokens, context, 'max_output_tokens');
  return {
    generation: {
      ...common,
      kind: 'responses',
      model,
      prompts: [prompt],
      n: 1,
      maxTokens,
      // Its schema stands in the format itself.
      json: wantedJson(format, format),
      echo: false,
      // Without a parser a call stays plain text.
      toolChoice: context.toolParser ? toolChoice : { kind: 'none' },
      tools,
    },
    echo: {
      instructions,
      metadata: fields.raw('metadata') ?? null,
      toolChoice: fields.raw('tool_choice') ?? (tools.length > 0 ? 'auto' : 'none'),
      tools: Array.isArray(rawTools) ? rawTools.map(echoTool) : [],
      maxOutputTokens: maxTokens,
      previousResponseId: previous,
      background,
      user: fields.string('user') ?? null,
      newer: context.version !== '0.29.0',
    },
    store: store && stored.enabled,
    messages,
  };
}

export function responseNotFound(id: string) {
  return envelope(404, 'invalid_request_error', `Response with id '${id}' not found.`, 'response_id');
}

export function notCancellable() {
  return envelope(400, 'invalid_request_error', 'Cannot cancel a synchronous response.', 'response_id');
}

function noStore() {
  return envelope(
    400,
    'invalid_request_error',
    'This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable these features, set the ' +
      'environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.',
    'background',
  );
}

function inputMessages(input: unknown): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw badValue('Input should be a string or a list.', 'input');
  return input.flatMap((item: unknown): ChatMessage[] => {
    if (!isObject(item)) return [];
    if (item['type'] === 'function_call') return [{ role: 'assistant', content: null, tool_calls: [item] }];
    if (item['type'] === 'function_call_output') return [{ role: 'tool', content: item['output'] }];
    return [{ role: String(item['role'] ?? 'user'), content: item['content'] }];
  });
}

function readTools(raw: unknown): ToolSpec[] {
  if (!Array.isArray(raw)) return [];
  return raw.flatMap((tool: unknown) =>
    isObject(tool) && tool['type'] === 'function'
      ? [{ name: String(tool['name']), parameters: tool['parameters'] }]
      : [],
  );
}

/** `{"type":"function","name":…}` here is `{"type":"function","function":{"name":…}}` in chat. */
function toChatChoice(choice: unknown): unknown {
  if (isObject(choice) && typeof choice['name'] === 'string')
    return { type: 'function', function: { name: choice['name'] } };
  return choice;
}

function echoTool(tool: unknown): unknown {
  if (!isObject(tool)) return tool;
  return {
    name: tool['name'],
    parameters: tool['parameters'] ?? null,
    strict: tool['strict'] ?? null,
    type: tool['type'],
    allowed_callers: null,
    async: null,
    defer_loading: null,
    description: tool['description'] ?? null,
    output_schema: null,
  };
}

function textFormat(text: unknown): Readonly<Record<string, unknown>> | undefined {
  const format = isObject(text) ? text['format'] : undefined;
  return isObject(format) ? format : undefined;
}
