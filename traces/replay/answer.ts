import { StringDecoder } from 'node:string_decoder';
import { createParser } from 'eventsource-parser';
import { ERROR_TABLE } from '../../src/model/error.js';

/** What a stage's answer told its client. Times are clock milliseconds. */
export interface StageAnswer {
  readonly outcome: string;
  readonly httpStatus: number;
  readonly error?: string;
  readonly firstTokenMs?: number;
  readonly promptTokens?: number;
  readonly outputTokens?: number;
  readonly cachedTokens?: number;
  readonly itlMs?: {
    readonly count: number;
    readonly sum: number;
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
  };
}

interface Frame {
  readonly error?: { readonly message?: string; readonly code?: string | number | null };
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly choices?: readonly { readonly delta?: Record<string, unknown> }[];
}

/** Error bodies are kept up to this length. */
const ERROR_BYTES = 4096;

/**
 * Reads the answer to one streamed chat completion as its bytes come. Only the first frames and those with usage or an error are parsed as
 * JSON; the others are counted, because the client shares its cores with what it measures.
 */
export class AnswerReader {
  private httpStatus = 0;
  private firstTokenMs: number | undefined;
  private lastTokenMs = 0;
  private frames = 0;
  private readonly gapsMs: number[] = [];
  private usage: Frame['usage'];
  private streamError: Frame['error'];
  private done = false;
  private errorText = '';
  private nowMs = 0;
  private readonly decoder = new StringDecoder('utf8');
  /** What Maestro knew too late for a header and tells in comments, by name. */
  readonly told = new Map<string, string>();
  private readonly parser = createParser({
    onEvent: ({ data }) => this.onFrame(data),
    onComment: (text) => this.onComment(text),
  });

  onStart(httpStatus: number): void {
    this.httpStatus = httpStatus;
  }

  onData(chunk: Buffer, nowMs: number): void {
    this.nowMs = nowMs;
    const text = this.decoder.write(chunk);
    if (this.httpStatus === 200) this.parser.feed(text);
    else if (this.errorText.length < ERROR_BYTES) this.errorText += text;
  }

  /** The connection ended by itself; `[DONE]` decides whether the answer is whole. */
  finish(): StageAnswer {
    if (this.httpStatus !== 200) return this.refused();
    if (this.streamError) {
      const { message, code } = this.streamError;
      return this.answer(this.brokenOutcome(code), message ?? String(code ?? 'error frame'));
    }
    if (!this.done) return this.answer('engine_failed', 'the stream ended without [DONE]');
    return this.answer('completed');
  }

  /** The connection broke, or the client gave up. */
  fail(outcome: string, error: string): StageAnswer {
    return this.answer(outcome, error);
  }

  private onComment(text: string): void {
    const [, name, value] = /^(x-maestro-[a-z-]+): (.*)$/.exec(text) ?? [];
    if (name !== undefined && value !== undefined) this.told.set(name, value);
  }

  /** A stream that was told to wait, and then failed before its first token, has the outcome of the status that it would have had. */
  private brokenOutcome(code: string | number | null | undefined): string {
    const known = ERROR_TABLE[code as keyof typeof ERROR_TABLE]?.httpStatus ?? Number(code);
    const waited = this.firstTokenMs === undefined && (known < 500 || known === 503);
    return waited ? refusedOutcome(known, String(code)) : midStreamOutcome(code);
  }

  private onFrame(data: string): void {
    if (data === '[DONE]') {
      this.done = true;
      return;
    }
    if (this.firstTokenMs !== undefined && !data.includes('"usage":{') && !data.includes('"error"')) {
      if (!data.includes('"content":""')) this.countToken();
      return;
    }
    let frame: Frame;
    try {
      frame = JSON.parse(data) as Frame;
    } catch {
      this.streamError ??= { message: `a frame is not JSON: ${data.slice(0, 80)}` };
      return;
    }
    if (frame.error) this.streamError ??= frame.error;
    if (frame.usage) this.usage = frame.usage;
    if (frame.choices?.some(({ delta }) => hasContent(delta))) this.countToken();
  }

  private countToken(): void {
    this.frames += 1;
    if (this.firstTokenMs === undefined) this.firstTokenMs = this.nowMs;
    // Frames that come in one read are one arrival: a server that merges tokens shows as fewer, longer gaps.
    else if (this.nowMs > this.lastTokenMs) this.gapsMs.push(this.nowMs - this.lastTokenMs);
    this.lastTokenMs = this.nowMs;
  }

  private refused(): StageAnswer {
    let code = '';
    let message = this.errorText.slice(0, 300);
    try {
      const body = JSON.parse(this.errorText) as { error?: { message?: string; code?: string | number | null } };
      code = String(body.error?.code ?? '');
      message = body.error?.message ?? message;
    } catch {
      // Not every server's errors are JSON; the text says it as well.
    }
    return this.answer(refusedOutcome(this.httpStatus, code), `${this.httpStatus}: ${message}`);
  }

  private answer(outcome: string, error?: string): StageAnswer {
    const cachedTokens = this.usage?.prompt_tokens_details?.cached_tokens;
    const promptTokens = this.usage?.prompt_tokens;
    return {
      outcome,
      httpStatus: this.httpStatus,
      ...(error !== undefined && { error }),
      ...(this.firstTokenMs !== undefined && { firstTokenMs: this.firstTokenMs }),
      ...(promptTokens !== undefined && { promptTokens }),
      // Without usage a frame counts as a token, as in vllm bench.
      outputTokens: this.usage?.completion_tokens ?? this.frames,
      ...(cachedTokens !== undefined && { cachedTokens }),
      ...(this.gapsMs.length > 0 && { itlMs: gapStats(this.gapsMs) }),
    };
  }
}

function hasContent(delta: Record<string, unknown> | undefined): boolean {
  if (!delta) return false;
  const { content, reasoning, reasoning_content, tool_calls } = delta;
  return (
    [content, reasoning, reasoning_content].some((text) => typeof text === 'string' && text !== '') ||
    tool_calls != null
  );
}

/** The outcome words of the house for an answer that never began to stream. */
function refusedOutcome(httpStatus: number, code: string): string {
  if (httpStatus === 408 || httpStatus === 504) return 'deadline';
  if (httpStatus === 502) return 'engine_failed';
  if (httpStatus === 503 || (httpStatus >= 400 && httpStatus < 500))
    return `rejected:${code === '' ? httpStatus : code}`;
  return 'internal';
}

const DEADLINE_CODES = new Set(['deadline_exceeded', 'first_token_timeout', 'token_timeout', 'request_timeout']);

function midStreamOutcome(code: string | number | null | undefined): string {
  return DEADLINE_CODES.has(String(code)) ? 'deadline' : 'engine_failed';
}

function gapStats(gapsMs: number[]): NonNullable<StageAnswer['itlMs']> {
  gapsMs.sort((a, b) => a - b);
  const at = (q: number) => gapsMs[Math.min(gapsMs.length - 1, Math.floor(q * gapsMs.length))]!;
  return {
    count: gapsMs.length,
    sum: gapsMs.reduce((sum, gap) => sum + gap, 0),
    p50: at(0.5),
    p99: at(0.99),
    max: gapsMs.at(-1)!,
  };
}
