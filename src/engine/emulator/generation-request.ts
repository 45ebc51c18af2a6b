import type { VllmVersion } from './dialect.js';
import type { AnswerKind } from './frames.js';

/** What an endpoint must know of its server to judge a request. */
export interface RequestContext {
  readonly servedModelNames: readonly string[];
  readonly maxModelLen: number;
  readonly autoToolChoice: boolean;
  readonly toolParser: boolean;
  readonly version: VllmVersion;
}

export type ToolChoice =
  | { readonly kind: 'none' | 'auto' | 'required' }
  | { readonly kind: 'named'; readonly name: string };

export interface ToolSpec {
  readonly name: string;
  readonly parameters: unknown;
}

/** Hints that a replay gives in `vllm_xargs`, where it knows what a trace does not spell out. */
export interface ReplayHints {
  /** True length of the answer, the end-of-sequence token included. */
  readonly outputTokens?: number;
  /** True length of the prompt, whatever its text. */
  readonly promptTokens?: number;
  /** Hashes of the growing prompt prefix, one for `blockTokens` tokens. */
  readonly hashIds?: readonly (string | number)[];
  readonly blockTokens?: number;
  /** Whether the answer calls a tool, and which where it is a name. */
  readonly toolCall?: boolean | string;
}

export interface PromptSpec {
  readonly tokens: number;
  readonly ids: Uint32Array;
  /** The text as it came, for `echo`. */
  readonly text: string;
}

/** A generation request that passed validation. */
export interface GenerationRequest {
  readonly kind: AnswerKind;
  readonly model: string;
  readonly prompts: readonly PromptSpec[];
  readonly n: number;
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly ignoreEos: boolean;
  readonly stop: readonly string[];
  readonly includeStop: boolean;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly streamInterval: number;
  readonly priority: number;
  /** The data-parallel rank that a header asks for. */
  readonly rank?: number | undefined;
  readonly requestId: string | undefined;
  readonly cacheSalt: string | undefined;
  readonly seed: number;
  /** JSON schema of the object that the answer must be; undefined: text. */
  readonly json: unknown;
  readonly echo: boolean;
  readonly toolChoice: ToolChoice;
  readonly tools: readonly ToolSpec[];
  readonly hints: ReplayHints;
}
