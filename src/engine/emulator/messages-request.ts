import { isObject } from '../../model/json.js';
import type { FieldReader } from './fields.js';
import type { GenerationRequest, RequestContext, ToolSpec } from './generation-request.js';
import { badValue, HttpError } from './http-error.js';
import { judgeMaxTokens, judgeModel, judgeToolChoice, judgeToolParser, throwIssues } from './judge.js';
import { promptOf, readBody, readCommon, readMessages } from './request.js';
import { type ChatMessage, renderChat, tokenize } from './tokens.js';

/** Parses and judges a body of /v1/messages. Refusals other than of the fields' types have Anthropic's shape. */
export function parseMessagesRequest(body: unknown, context: RequestContext): GenerationRequest {
  const fields = readBody(body);
  const common = readCommon(fields);
  const messages = readMessages(fields);
  if (common.maxTokens === undefined) fields.issue('missing', ['max_tokens'], 'Field required', fields.body);
  throwIssues(fields);
  return asAnthropic(() => {
    const model = judgeModel(common.model, context);
    const tools = readTools(fields.raw('tools'));
    const toolChoice = judgeToolChoice(toChatChoice(fields.raw('tool_choice')), toolsOrNone(fields), tools);
    judgeToolParser(toolChoice, context);
    const text = render(fields, messages);
    const prompt = promptOf(tokenize(text), text, common);
    const maxTokens = judgeMaxTokens(common.maxTokens, prompt.tokens, context, 'max_completion_tokens');
    const sequences = fields.raw('stop_sequences');
    return {
      ...common,
      kind: 'messages',
      model,
      prompts: [prompt],
      n: 1,
      stop: Array.isArray(sequences) ? sequences.map(String) : [],
      maxTokens,
      json: undefined,
      echo: false,
      toolChoice,
      tools,
    };
  });
}

/** The body of /v1/messages/count_tokens, counted. */
export function countMessageTokens(body: unknown, context: RequestContext): number {
  const fields = readBody(body);
  const model = fields.string('model');
  const messages = readMessages(fields);
  throwIssues(fields);
  return asAnthropic(() => {
    judgeModel(model, context);
    return tokenize(render(fields, messages)).length;
  });
}

function render(fields: FieldReader, messages: readonly ChatMessage[]): string {
  if (messages.length === 0) {
    throw badValue('Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  const system = fields.raw('system');
  const all = system === undefined || system === null ? messages : [{ role: 'system', content: system }, ...messages];
  return renderChat(all, toolsOrNone(fields), true);
}

function toolsOrNone(fields: FieldReader): unknown {
  const tools = fields.raw('tools');
  return Array.isArray(tools) && tools.length > 0 ? tools : undefined;
}

function readTools(raw: unknown): ToolSpec[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((tool: unknown) =>
    isObject(tool)
      ? { name: String(tool['name']), parameters: tool['input_schema'] }
      : { name: '', parameters: undefined },
  );
}

/** `auto`, `any`, `tool` and `none` are chat's `auto`, `required`, a named function and `none`. */
function toChatChoice(choice: unknown): unknown {
  if (!isObject(choice)) return undefined;
  if (choice['type'] === 'any') return 'required';
  if (choice['type'] === 'tool') return { type: 'function', function: { name: choice['name'] } };
  return choice['type'];
}

function asAnthropic<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const wrong =
      error instanceof HttpError ? (error.body as { error?: { type?: string; message?: string } }).error : undefined;
    if (!(error instanceof HttpError) || !wrong) throw error;
    throw new HttpError(
      error.status,
      { type: 'error', error: { type: wrong.type, message: wrong.message } },
      error.vary,
    );
  }
}
