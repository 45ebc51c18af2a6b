import { jsonFrame } from './json-frame.js';
import { mix } from './tokens.js';
import { word } from './words.js';

/** What one sequence will say, token by token. The text of a token depends on nothing but the script's seed and its place. */
export interface OutputScript {
  readonly kind: 'text' | 'tool-call';
  /** How many tokens it generates, the end-of-sequence token among them. */
  readonly tokens: number;
  readonly finishReason: 'stop' | 'length';
  /** The stop string that ended it. */
  readonly stopReason: string | null;
  /** Text before the first token (`echo`). */
  readonly echoed: string;
  /** The function that a tool call names. */
  readonly toolName: string;
  /** Text of the tokens in [from, to): of the answer, or of the arguments of a tool call. */
  text(from: number, to: number): string;
}

export interface ScriptRequest {
  readonly seed: number;
  /** Length that it would have without a limit, the end-of-sequence token included; undefined: it never ends by itself. */
  readonly naturalTokens: number | undefined;
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly includeStop: boolean;
  readonly echoed: string;
  /** JSON schema of the object that the answer must be; undefined: text. */
  readonly json: unknown;
  /** Weights were never loaded after a level-2 sleep: the model answers, with garbage. */
  readonly garbage: boolean;
}

export function textScript(request: ScriptRequest): OutputScript {
  const { naturalTokens, maxTokens, seed } = request;
  const endsItself = naturalTokens !== undefined && naturalTokens <= maxTokens;
  const tokens = endsItself ? naturalTokens : maxTokens;
  const last = endsItself ? tokens - 1 : tokens;
  const frame = request.json === undefined || last < 3 ? undefined : jsonFrame(request.json, seed);
  const piece = (index: number): string => {
    if (index >= last) return '';
    if (request.garbage) return '!';
    if (frame) {
      if (index === 0) return frame.head;
      if (endsItself && index === last - 1) return frame.tail;
      if (!frame.open) return '';
      return index === 1 ? word(seed, index) : ` ${word(seed, index)}`;
    }
    return index === 0 ? word(seed, index) : ` ${word(seed, index)}`;
  };
  const script: OutputScript = {
    kind: 'text',
    tokens,
    finishReason: endsItself ? 'stop' : 'length',
    stopReason: null,
    echoed: request.echoed,
    toolName: '',
    text: (from, to) => join(piece, from, Math.min(to, tokens)),
  };
  return request.stop.length > 0 ? cutAtStop(script, request) : script;
}

/** A call of `toolName` whose arguments fill about the asked length; the first token stands for the name, the rest for the arguments. */
export function toolCallScript(request: ScriptRequest, toolName: string, parameters: unknown): OutputScript {
  const natural = request.naturalTokens ?? request.maxTokens;
  const tokens = Math.min(natural, request.maxTokens);
  const { head, tail, open } = jsonFrame(parameters, request.seed);
  const body = open ? Math.max(0, natural - 4) : 0;
  const piece = (index: number): string => {
    // Too short for a token each: all of the arguments come with the name.
    if (natural < 4) return index === 0 ? head + tail : '';
    if (index === 1) return head;
    if (index === natural - 2) return tail;
    if (index < 2 || index > body + 1) return '';
    return index === 2 ? word(request.seed, index) : ` ${word(request.seed, index)}`;
  };
  return {
    kind: 'tool-call',
    tokens,
    finishReason: natural <= request.maxTokens ? 'stop' : 'length',
    stopReason: null,
    echoed: '',
    toolName,
    text: (from, to) => join(piece, from, Math.min(to, tokens)),
  };
}

function join(piece: (index: number) => string, from: number, to: number): string {
  let text = '';
  for (let index = from; index < to; index++) text += piece(index);
  return text;
}

/** The script, ended by the first of the stop strings that its text would contain. */
function cutAtStop(script: OutputScript, request: ScriptRequest): OutputScript {
  let text = '';
  for (let index = 0; index < script.tokens; index++) {
    const before = text.length;
    text += script.text(index, index + 1);
    for (const stop of request.stop) {
      const longest = before - stop.length + 1;
      const found = stop ? text.indexOf(stop, Math.max(0, longest)) : -1;
      if (found < 0) continue;
      const visible = text.slice(0, request.includeStop ? found + stop.length : found);
      const starts = startsOf(script, index + 1);
      return {
        ...script,
        tokens: index + 1,
        finishReason: 'stop',
        stopReason: stop,
        text: (from, to) => visible.slice(starts[Math.min(from, index + 1)]!, starts[Math.min(to, index + 1)]!),
      };
    }
  }
  return script;
}

/** Where the text of each of the first `count` tokens starts, and where the last one ends. */
function startsOf(script: OutputScript, count: number): number[] {
  const starts = [0];
  for (let index = 0; index < count; index++) starts.push(starts[index]! + script.text(index, index + 1).length);
  return starts;
}

/** A length drawn from a log-normal distribution, near what chat and agent traces show: median 150 tokens, mean 225. */
export function drawNaturalTokens(seed: number): number {
  const uniform = (salt: number) => (mix(seed ^ salt) + 1) / 4294967298;
  const normal = Math.sqrt(-2 * Math.log(uniform(0x51ed270b))) * Math.cos(2 * Math.PI * uniform(0x2545f491));
  return Math.max(2, Math.round(150 * Math.exp(0.9 * normal)));
}
