import { MaestroError } from '../model/error.js';
import { isObject } from '../model/json.js';
import type { StageFeatures } from '../model/stage.js';
import { type BodyScan, findMember, type JsonRange, memberStart } from './json-scan.js';
import { lastToolCalled } from './last-tool.js';
import type { InferenceRoute } from './routes.js';
import { isName, type WantedField } from './wanted-fields.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** Values longer than this are not decoded. */
const MAX_DECODED_BYTES = 16 * 1024;

type Writable<T> = { -readonly [Field in keyof T]: T[Field] };

/** What the gateway understands of one request body. */
export interface RequestFields {
  /** Name as the client wrote it. */
  readonly model: string;
  readonly stream: boolean;
  /** Did the client ask for the usage frame of a stream? */
  readonly wantsUsage: boolean;
  /** The request's own bound on the output; undefined when it has none. */
  readonly maxTokens: number | undefined;
  /** Answers that are asked for: `n`, or `best_of` where that is larger, for each prompt of the request. */
  readonly choices: number;
  /** What the body alone tells. */
  readonly features: Writable<StageFeatures>;
  /** Bytes of the last message, its frame included. */
  readonly lastMessageBytes: number;
  /** Prompt length when it is given as token ids. */
  readonly promptTokens: number | undefined;
  /** Bytes of text that become the prompt, tools included, media left out. */
  readonly promptBytes: number;
}

/** The decoded value of a top-level field; undefined when it is absent, null, or too long to be of interest. */
export function decodeField(body: Buffer, scan: BodyScan, field: WantedField): unknown {
  const range = scan.fields[field];
  if (!range || range.end - range.start > MAX_DECODED_BYTES) return undefined;
  return decodeRange(body, range) ?? undefined;
}

function decodeRange(body: Buffer, range: JsonRange): unknown {
  const { start, end } = range;
  // Nearly all that is decoded is a number, which the scan has checked, or a short word: neither needs a parser.
  const first = body[start]!;
  if (first === QUOTE && isPlain(body, start + 1, end - 1)) return body.toString('latin1', start + 1, end - 1);
  if (first === MINUS || (first >= ZERO && first <= NINE)) return numberOf(body, start, end);
  try {
    return JSON.parse(body.toString('utf8', start, end));
  } catch {
    // The scan checks everything but the inside of strings; the engine will say what is wrong there.
    return undefined;
  }
}

/** More digits may be more than a number holds exactly. */
const MAX_WHOLE_DIGITS = 15;

/** The value of a JSON number. */
function numberOf(body: Buffer, start: number, end: number): number {
  let value = 0;
  for (let index = start; index < end; index++) {
    const byte = body[index]!;
    if (byte < ZERO || byte > NINE || end - start > MAX_WHOLE_DIGITS)
      return Number(body.toString('latin1', start, end));
    value = 10 * value + byte - ZERO;
  }
  return value;
}

/** Does a string consist of printable ASCII without escapes, so that its bytes are its text? */
function isPlain(body: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const byte = body[index]!;
    if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return false;
  }
  return true;
}

/** Reads the wanted fields. Throws `invalid_request` for those that the gateway itself depends on; the rest is the engine's to judge. */
export function readFields(body: Buffer, scan: BodyScan, route: InferenceRoute, maxChoices: number): RequestFields {
  const { fields } = scan;
  const model = decodeField(body, scan, 'model');
  if (typeof model !== 'string' || model.length === 0 || model.length > 256) {
    throw new MaestroError('invalid_request', 'The field "model" must name a model; GET /v1/models lists them.', {
      param: 'model',
    });
  }
  const prompt = fields[route.promptField];
  if (!prompt) {
    throw new MaestroError('invalid_request', `The field "${route.promptField}" is missing.`, {
      param: route.promptField,
    });
  }
  if (route.promptField === 'messages' && body[prompt.start] !== 0x5b) {
    throw new MaestroError('invalid_request', 'The field "messages" must be an array.', { param: 'messages' });
  }
  const stream = route.streams && readBoolean(body, scan, 'stream');
  const choices = Math.max(readChoices(body, scan, 'n', maxChoices), readChoices(body, scan, 'best_of', maxChoices));
  let besideBytes = 0;
  for (const field of ['tools', 'instructions', 'system'] as const) {
    const range = fields[field];
    if (range) besideBytes += range.end - range.start;
  }
  return {
    model,
    stream,
    // Only OpenAI's own streams carry usage on request; the others always do.
    wantsUsage: stream && (route.dialect !== 'openai' || readsIncludeUsage(body, scan)),
    maxTokens: readTokenLimit(body, scan, route),
    choices: choices * countPrompts(body, prompt, route),
    features: readFeatures(body, scan, stream, route),
    lastMessageBytes: (scan.messageOffsets.at(-1) ?? prompt.end) - (scan.messageOffsets.at(-2) ?? prompt.start),
    promptTokens: countTokenIds(body, prompt),
    promptBytes: prompt.end - prompt.start + besideBytes - scan.mediaBytes,
  };
}

function readBoolean(body: Buffer, scan: BodyScan, field: WantedField): boolean {
  const range = scan.fields[field];
  if (!range) return false;
  switch (body[range.start]) {
    case 0x74:
      return true;
    case 0x66:
    case 0x6e:
      return false;
    default:
      throw new MaestroError('invalid_request', `The field "${field}" must be true or false.`, { param: field });
  }
}

function readChoices(body: Buffer, scan: BodyScan, field: 'n' | 'best_of', maxChoices: number): number {
  const range = scan.fields[field];
  const value = range && decodeRange(body, range);
  if (value === undefined || value === null) return 1;
  const count = countOf(value);
  if (count !== undefined && count >= 1 && count <= maxChoices) return Math.ceil(count);
  throw new MaestroError('invalid_request', `The field "${field}" must be between 1 and ${maxChoices}.`, {
    param: field,
  });
}

/** A number in any form that vLLM takes for one (pydantic's lax mode): `4`, `"4"`, `"4.0"`, `true`. Undefined for everything else. */
export function countOf(value: unknown): number | undefined {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'string' && /^\s*[+-]?\d[\d_]*(\.0*)?\s*$/.test(value)) return Number(value.replaceAll('_', ''));
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function readsIncludeUsage(body: Buffer, scan: BodyScan): boolean {
  if (!scan.fields.stream_options) return false;
  const options = decodeField(body, scan, 'stream_options');
  return isObject(options) && options['include_usage'] === true;
}

function readTokenLimit(body: Buffer, scan: BodyScan, route: InferenceRoute): number | undefined {
  for (const field of route.tokenLimitFields) {
    const value = countOf(decodeField(body, scan, field));
    if (value !== undefined && value >= 0) return Math.floor(value);
  }
  return route.defaultMaxTokens;
}

/** A prompt given as token ids has an exact length. */
function countTokenIds(body: Buffer, prompt: JsonRange): number | undefined {
  return isTokenIds(body, prompt) ? prompt.elements : undefined;
}

/** A completion may ask for the answers to a list of prompts. */
function countPrompts(body: Buffer, prompt: JsonRange, route: InferenceRoute): number {
  return route.promptField === 'prompt' && !isTokenIds(body, prompt) ? Math.max(1, prompt.elements) : 1;
}

function isTokenIds(body: Buffer, prompt: JsonRange): boolean {
  if (prompt.elements === 0) return false;
  let index = prompt.start + 1;
  while (body[index] === 0x20 || body[index] === 0x0a || body[index] === 0x0d || body[index] === 0x09) index++;
  const byte = body[index]!;
  return byte >= ZERO && byte <= NINE;
}

function readFeatures(body: Buffer, scan: BodyScan, stream: boolean, route: InferenceRoute): Writable<StageFeatures> {
  const toolsOffered = scan.fields.tools?.elements ?? 0;
  const listed = scan.messageOffsets.length / 2;
  // The Responses API takes a text as its input, which is one message of the user.
  const isText = route.dialect === 'responses' && body[scan.fields.input!.start] === QUOTE;
  const temperature = decodeField(body, scan, 'temperature');
  const lastMessageKind = isText ? 'user' : listed === 0 ? 'none' : messageKind(body, scan, listed - 1);
  return {
    toolsOffered,
    toolChoice: readToolChoice(body, scan, toolsOffered),
    responseFormat: readResponseFormat(body, scan),
    lastMessageKind,
    messageCount: isText ? 1 : listed,
    temperature: typeof temperature === 'number' ? temperature : undefined,
    reasoning: readReasoning(body, scan),
    stream,
    lastMessageTokens: undefined,
    lastTool: lastMessageKind === 'tool' ? lastToolCalled(body, scan) : undefined,
    textGrams: undefined,
    textVector: undefined,
  };
}

function readToolChoice(body: Buffer, scan: BodyScan, toolsOffered: number): StageFeatures['toolChoice'] {
  const range = scan.fields.tool_choice;
  const isNamed = range !== undefined && body[range.start] === OPEN_BRACE;
  const word = isNamed ? findMember(body, range.start, 'type') : range;
  const value = word && decodeRange(body, word);
  if (value === 'none' || value === 'auto' || value === 'required') return value;
  if (value === 'any') return 'required';
  if (isNamed) return 'named';
  return toolsOffered > 0 ? 'auto' : 'none';
}

function readResponseFormat(body: Buffer, scan: BodyScan): StageFeatures['responseFormat'] {
  const { response_format, text } = scan.fields;
  const range = response_format ?? (text && findMember(body, text.start, 'format'));
  const type = range && findMember(body, range.start, 'type');
  const value = type && decodeRange(body, type);
  return value === 'json_object' || value === 'json_schema' ? value : 'text';
}

function readReasoning(body: Buffer, scan: BodyScan): boolean {
  const reasoning = decodeField(body, scan, 'reasoning');
  const effort = decodeField(body, scan, 'reasoning_effort') ?? (isObject(reasoning) ? reasoning['effort'] : undefined);
  if (typeof effort === 'string') return effort !== 'none';
  const thinking = decodeField(body, scan, 'thinking');
  if (isObject(thinking)) return thinking['type'] !== 'disabled';
  const template = decodeField(body, scan, 'chat_template_kwargs');
  return isObject(template) && (template['enable_thinking'] === true || template['thinking'] === true);
}

/** Who wrote the message with this index, in any of the APIs. */
export function messageKind(body: Buffer, scan: BodyScan, index: number): StageFeatures['lastMessageKind'] {
  const start = scan.messageOffsets[2 * index]!;
  const range = findMember(body, start, 'role');
  const role = range && ROLES.find(({ written }) => isName(body, range.start, range.end, written));
  if (!role) return itemKind(body, start);
  return role.kind === 'user' && holdsToolResult(body, start) ? 'tool' : role.kind;
}

/** Whose message it is, by the role that is written in it; the most frequent first. */
const ROLES = [
  { written: '"user"', kind: 'user' },
  { written: '"assistant"', kind: 'assistant' },
  { written: '"tool"', kind: 'tool' },
  { written: '"system"', kind: 'system' },
  { written: '"developer"', kind: 'system' },
  { written: '"function"', kind: 'tool' },
] as const;

/** Anthropic's messages carry what a tool answered as the user's content. */
function holdsToolResult(body: Buffer, start: number): boolean {
  const content = memberStart(body, start, 'content');
  if (body[content] !== OPEN_BRACKET) return false;
  const type = findMember(body, content + 1, 'type');
  return type !== undefined && decodeRange(body, type) === 'tool_result';
}

/** Items of the Responses API that are no messages have a type instead of a role. */
function itemKind(body: Buffer, start: number): StageFeatures['lastMessageKind'] {
  const range = findMember(body, start, 'type');
  const type = range && decodeRange(body, range);
  if (typeof type !== 'string') return 'none';
  return type.endsWith('_output') ? 'tool' : type === 'reasoning' || type.endsWith('_call') ? 'assistant' : 'none';
}
