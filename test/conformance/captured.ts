import { readFileSync } from 'node:fs';
import type { AnswerShape } from './shape.js';
import type { Target } from './target.js';

/** One request as it was sent to a real server, and the shape of what came back. */
export interface CapturedCase {
  readonly name: string;
  readonly request: Buffer;
  readonly expected: AnswerShape;
}

interface StoredCase {
  readonly name: string;
  readonly request: string;
  readonly expect: StoredShape;
  /** Where 0.32 answers otherwise. */
  readonly expect032?: StoredShape;
}

type StoredShape = Omit<AnswerShape, 'json' | 'frames'> & { readonly json?: number; readonly frames?: number };

/** A prompt that no small context holds. */
const LONG = 'water '.repeat(4000);

/** `captured`: every endpoint and field. `captured-options`: keys, ids and usage as flags change them, on a server that has these flags. */
export type CaseFile = 'captured' | 'captured-options';

/** The captured cases, for the version and model of the target. */
export function capturedCases(target: Target, name: CaseFile = 'captured'): CapturedCase[] {
  const file = new URL(`./testdata/${name}.json`, import.meta.url);
  const { shapes, cases } = JSON.parse(readFileSync(file, 'utf8')) as { shapes: unknown[]; cases: StoredCase[] };
  // Those about keys bring their own.
  const ownKeys = name === 'captured-options';
  const newer = !target.version.startsWith('0.29.');
  const resolve = ({ json, frames, ...rest }: StoredShape): AnswerShape => ({
    ...rest,
    ...(json === undefined ? {} : { json: shapes[json] }),
    ...(frames === undefined ? {} : { frames: shapes[frames] as unknown[] }),
  });
  return cases.map(({ name, request, expect, expect032 }) => ({
    name,
    request: requestFor(request, ownKeys ? { ...target, apiKey: undefined } : target),
    expected: resolve(newer ? (expect032 ?? expect) : expect),
  }));
}

/** The captured bytes, with the target's model and key, and the length that follows from them. */
function requestFor(captured: string, target: Target): Buffer {
  const end = captured.indexOf('\r\n\r\n');
  if (end < 0) return Buffer.from(captured, 'latin1');
  let head = captured.slice(0, end);
  const body = captured
    .slice(end + 4)
    .replace('{{water}}', LONG)
    .replaceAll('"tiny"', JSON.stringify(target.model));
  const bytes = Buffer.from(body, 'latin1');
  head = head
    .replace(/Content-Length: \d+/, `Content-Length: ${bytes.length}`)
    .replace('/models/tiny', `/models/${target.model}`);
  if (target.apiKey !== undefined) head += `\r\nAuthorization: Bearer ${target.apiKey}`;
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`, 'latin1'), bytes]);
}

/** What the emulator leaves out; each is a field or endpoint that no part of Maestro and no agent framework depends on. */
const NOT_EMULATED: readonly (readonly [RegExp, string])[] = [
  [/logprobs$/, 'the emulator has no probabilities to tell'],
  [/return-token-ids/, 'the emulator does not list token ids'],
  [/^(chat-batch|generative-scoring|inference-generate)$/, 'an endpoint that the emulator does not have'],
  [/token-out-of-range/, "every number is a token of the emulator's vocabulary"],
  [/^err-message-no-role$/, 'the emulator names the first complaint about a message, vLLM names eleven'],
  [/^chat-cache-salt-empty$/, '0.32 judges an empty salt elsewhere; 0.29 is emulated'],
  [/^(chat-eos-stream|chat-stop-stream)$/, 'depends on what a random model says first'],
];

/** Why a case says nothing about this target; undefined when it does. */
export function reasonToSkip(name: string, target: Target): string | undefined {
  if (!target.real) {
    const [, reason] = NOT_EMULATED.find(([pattern]) => pattern.test(name)) ?? [];
    if (reason !== undefined && !(name === 'chat-cache-salt-empty' && target.version.startsWith('0.29.')))
      return reason;
  }
  if (/^(chat-eos-stream|chat-stop-stream|completion-echo-stream)$/.test(name) && target.real) {
    return 'the frames depend on what a random model says first';
  }
  if (/^completion-logprobs$/.test(name)) return 'the keys are tokens that a random model finds likely';
  if (!/^0\.(29|32)\./.test(target.version)) return `no captures of vLLM ${target.version}`;
  if (/(too-large|too-long|truncate|just-too)/.test(name) && target.maxModelLen !== 2048) {
    return `made for a context of 2048 tokens; this one has ${target.maxModelLen}`;
  }
  if (/tools/.test(name) && target.toolParser) return 'the server has a tool parser; the case is about servers without';
  if (/^(method-get-sleep|get-is-)/.test(name) && !target.devMode) return 'the development endpoints are off';
  return undefined;
}

/** The expectation, as far as the flags of the target change it. */
export function expectedOf(shape: AnswerShape, target: Target): AnswerShape {
  const headers = target.requestIdHeaders ? [...shape.headers, 'x-request-id'].sort() : shape.headers;
  return blurred({ ...shape, headers }, target);
}

/** An answer without what hangs on flags. */
export function blurred(shape: AnswerShape, target: Target): AnswerShape {
  const { json, frames } = shape;
  return {
    ...shape,
    ...(json === undefined ? {} : { json: blur(json, target) }),
    ...(frames === undefined ? {} : { frames: distinct(frames.map((frame) => blur(frame, target))) }),
  };
}

/** Fields that hang on flags: the same on both sides, whatever stands in them. */
function blur(value: unknown, target: Target): unknown {
  if (Array.isArray(value)) return value.map((entry) => blur(entry, target));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !CACHE_COUNTS.has(name) && (target.promptTokensDetails || name !== 'prompt_tokens_details'))
      .map(([name, entry]) => [name, blur(entry, target)]),
  );
}

/** Told by /v1/messages with --enable-prompt-tokens-details only; half of the captures are without. */
const CACHE_COUNTS = new Set(['cache_creation_input_tokens', 'cache_read_input_tokens']);

function distinct(frames: readonly unknown[]): unknown[] {
  return [...new Map(frames.map((frame) => [JSON.stringify(frame), frame])).values()];
}
