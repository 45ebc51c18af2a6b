import { isObject } from '../model/json.js';

/** What an engine's answer tells about the stage. */
export interface AnswerFacts {
  promptTokens?: number | undefined;
  cachedTokens?: number | undefined;
  outputTokens?: number | undefined;
  finishReason?: string | undefined;
  toolCalled?: boolean | undefined;
}

const CLOSE_BRACE = 0x7d;
/** White space and the comma are the only codes up to this one that may follow a number. */
const COMMA = 0x2c;
const SPACE = 0x20;
const ZERO = 0x30;

/** How much of an answer's end is looked at; vLLM puts `finish_reason` and `usage` there. */
const TAIL_BYTES = 8 * 1024;

/** Takes token counts from a `usage` object. */
export function learnUsage(facts: AnswerFacts, usage: unknown): void {
  if (!isObject(usage)) return;
  facts.promptTokens = count(usage['prompt_tokens']) ?? count(usage['input_tokens']) ?? facts.promptTokens;
  facts.outputTokens = count(usage['completion_tokens']) ?? count(usage['output_tokens']) ?? facts.outputTokens;
  const details = usage['prompt_tokens_details'] ?? usage['input_tokens_details'];
  const cached = isObject(details) ? details['cached_tokens'] : usage['cache_read_input_tokens'];
  facts.cachedTokens = count(cached) ?? facts.cachedTokens;
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}

/** Anthropic's words for how an answer ended, in OpenAI's. */
const STOP_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
};

/** Takes Anthropic's `stop_reason`. */
export function learnStopReason(facts: AnswerFacts, reason: unknown): void {
  if (typeof reason !== 'string') return;
  facts.finishReason = STOP_REASONS[reason] ?? 'stop';
  facts.toolCalled = reason === 'tool_use';
}

/** Takes what a whole object of the Responses API tells. */
export function learnResponse(facts: AnswerFacts, response: unknown): void {
  if (!isObject(response)) return;
  learnUsage(facts, response['usage']);
  const { status, output } = response;
  facts.toolCalled = Array.isArray(output) && output.some((item) => isObject(item) && item['type'] === 'function_call');
  if (status === 'incomplete') facts.finishReason = 'length';
  else if (status === 'completed') facts.finishReason = facts.toolCalled ? 'tool_calls' : 'stop';
}

/** Takes the last finish reason in the end of `bytes`, if there is one. */
export function learnFinish(facts: AnswerFacts, bytes: Buffer): void {
  learnFinishIn(facts, bytes.toString('latin1', Math.max(0, bytes.length - TAIL_BYTES)));
}

function learnFinishIn(facts: AnswerFacts, text: string): void {
  const at = text.lastIndexOf('"finish_reason":"');
  const spaced = at >= 0 ? at : text.lastIndexOf('"finish_reason": "');
  if (spaced < 0) return;
  const reason = /^"finish_reason": ?"([a-z_]{1,32})"/.exec(text.slice(spaced, spaced + 64))?.[1];
  if (reason === undefined) return;
  facts.finishReason = reason;
  facts.toolCalled = reason === 'tool_calls' || reason === 'function_call' || callsTool(text);
}

/** Some versions of vLLM write an empty list where no tool is called. */
function callsTool(text: string): boolean {
  return text.includes('"tool_calls"') && /"tool_calls": ?\[\{/.test(text);
}

/** Keeps the end of a JSON answer that is passed through, and reads the facts from it. Memory is bounded. */
export class JsonTail {
  private chunks: Buffer[] = [];
  private bytes = 0;

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    while (this.chunks.length > 1 && this.bytes - this.chunks[0]!.length >= TAIL_BYTES) {
      this.bytes -= this.chunks.shift()!.length;
    }
  }

  read(): AnswerFacts {
    const facts: AnswerFacts = {};
    const tail = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    const text = tail.toString('latin1', Math.max(0, tail.length - TAIL_BYTES));
    learnFinishIn(facts, text);
    const at = text.lastIndexOf('"usage"');
    if (at >= 0) learnUsageText(facts, text, at);
    if (facts.finishReason === undefined) learnOtherEnd(facts, text);
    return facts;
  }
}

/** How an answer of the other APIs ended: Anthropic's stop reason, or the status of a response. */
function learnOtherEnd(facts: AnswerFacts, text: string): void {
  learnStopReason(facts, /"stop_reason":\s?"([a-z_]{1,32})"/.exec(text)?.[1]);
  const status = /"status":\s?"(completed|incomplete)","text":/.exec(text)?.[1];
  if (status !== undefined) facts.finishReason = status === 'incomplete' ? 'length' : 'stop';
}

/** What {@link learnUsage} takes, from the text of an answer in which a `usage` object begins at `from`: nothing but whole numbers, which need no parser. */
function learnUsageText(facts: AnswerFacts, text: string, from: number): void {
  facts.promptTokens = countAfter(text, '"prompt_tokens":', from) ?? countAfter(text, '"input_tokens":', from);
  facts.outputTokens = countAfter(text, '"completion_tokens":', from) ?? countAfter(text, '"output_tokens":', from);
  facts.cachedTokens =
    countAfter(text, '"cached_tokens":', from) ?? countAfter(text, '"cache_read_input_tokens":', from);
}

/** The whole number behind the first `key` at or after `from`; undefined where there is none, or not all of it. */
function countAfter(text: string, key: string, from: number): number | undefined {
  const found = text.indexOf(key, from);
  if (found < 0) return undefined;
  let at = found + key.length;
  while (text.charCodeAt(at) === SPACE) at++;
  const first = at;
  let value = 0;
  for (let digit = text.charCodeAt(at) - ZERO; digit >= 0 && digit <= 9; digit = text.charCodeAt(at) - ZERO) {
    value = 10 * value + digit;
    at += 1;
  }
  const next = text.charCodeAt(at);
  return at > first && (next <= COMMA || next === CLOSE_BRACE) ? value : undefined;
}

/** Of an answer of which nothing has come. */
export const noFacts = (): AnswerFacts => ({});
