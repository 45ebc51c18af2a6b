import { internalError } from './http-error.js';

/** Which API an answer speaks. */
export type AnswerKind = 'chat' | 'completion' | 'responses' | 'messages';

/**
 * The bytes of answers: event-stream frames and JSON bodies with vLLM's keys in vLLM's order. Everything here is a pure function of
 * numbers and texts, so that the captures of the real server can be held against it.
 */
export interface ResponseHead {
  readonly kind: AnswerKind;
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

export interface ChoiceUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export interface TotalUsage extends ChoiceUsage {
  /** Present with --enable-prompt-tokens-details. */
  readonly cachedTokens?: number;
  readonly createdCacheTokens?: number;
}

export interface RequestMetrics {
  readonly time_to_first_token_ms: number;
  readonly generation_time_ms: number;
  readonly queue_time_ms: number;
  readonly mean_itl_ms: number | null;
  readonly tokens_per_second: number;
}

export type FinishWord = 'stop' | 'length' | 'abort' | 'tool_calls';

const DONE_FRAME = 'data: [DONE]\n\n';

/** Error frames have spaces after their colons, unlike all others. */
export function errorFrame(message: string, type = 'InternalServerError', code = 500): string {
  const text = JSON.stringify(message);
  return `data: {"error": {"message": ${text}, "type": "${type}", "param": null, "code": ${code}}}\n\n`;
}

/** What every API must be able to write of an answer. Frames are whole events; an empty string is nothing. */
export interface AnswerFrames {
  /** At once when a stream begins, before the engine has said anything. */
  begin(): string;
  /** Before the first token of a choice. */
  role(index: number, usage: ChoiceUsage | undefined): string;
  content(index: number, text: string, usage: ChoiceUsage | undefined, promptIds?: readonly number[]): string;
  /** The end of a choice, with the last text where there is some. */
  closing(
    index: number,
    text: string,
    finish: FinishWord,
    stopReason: string | null,
    usage: ChoiceUsage | undefined,
  ): string;
  toolCallOpening(index: number, callId: string, name: string, usage: ChoiceUsage | undefined): string;
  toolCallArguments(index: number, text: string, usage: ChoiceUsage | undefined): string;
  toolCallClosing(index: number, finish: FinishWord, usage: ChoiceUsage | undefined): string;
  /** The end of the stream; `usageAsked` where the client or the server wants a usage frame. */
  end(usage: TotalUsage, usageAsked: boolean, metrics: RequestMetrics | undefined): string;
  /** What a stream whose engine has died ends with; undefined: the connection is cut. */
  broken(message: string): string | undefined;
  /** The whole answer, where it is not streamed. */
  body(choices: readonly BodyChoice[], usage: TotalUsage, metrics: RequestMetrics | undefined): string;
  /** The whole answer of a request whose engine has died. */
  errorBody(message: string): string;
}

/** Chat and text completions. */
export class FrameWriter implements AnswerFrames {
  private readonly open: string;

  constructor(
    private readonly head: ResponseHead,
    private readonly serverFingerprint: string,
    /** A usage frame follows the choices, and carries the fingerprint instead of the frames that end a choice. */
    private readonly usageFollows: boolean,
  ) {
    const object = head.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion';
    this.open = `data: {"id":${JSON.stringify(head.id)},"object":"${object}","created":${head.created},"model":${JSON.stringify(head.model)},"choices":[`;
  }

  begin(): string {
    return '';
  }

  role(index: number, usage: ChoiceUsage | undefined): string {
    if (this.head.kind === 'completion') return '';
    return (
      `${this.open}{"index":${index},"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]` +
      `${this.usageField(usage)},"prompt_token_ids":null,"prompt_text":null}\n\n`
    );
  }

  content(index: number, text: string, usage: ChoiceUsage | undefined, promptIds?: readonly number[]): string {
    if (this.head.kind === 'completion') return this.completion(index, text, null, null, usage, '', promptIds);
    return this.chat(index, `{"content":${JSON.stringify(text)}}`, usage);
  }

  closing(
    index: number,
    text: string,
    finish: FinishWord,
    stopReason: string | null,
    usage: ChoiceUsage | undefined,
  ): string {
    const tail = this.fingerprintField();
    if (this.head.kind === 'completion') return this.completion(index, text, finish, stopReason, usage, tail);
    return this.chatClosing(index, `{"content":${JSON.stringify(text)}}`, finish, stopReason, usage, tail);
  }

  toolCallOpening(index: number, callId: string, name: string, usage: ChoiceUsage | undefined): string {
    const call = `{"id":"${callId}","type":"function","index":0,"function":{"name":${JSON.stringify(name)}}}`;
    return this.chat(index, `{"content":null,"tool_calls":[${call}]}`, usage);
  }

  toolCallArguments(index: number, text: string, usage: ChoiceUsage | undefined): string {
    const call = `{"index":0,"function":{"arguments":${JSON.stringify(text)}}}`;
    return this.chat(index, `{"content":null,"tool_calls":[${call}]}`, usage);
  }

  toolCallClosing(index: number, finish: FinishWord, usage: ChoiceUsage | undefined): string {
    const tail = this.fingerprintField();
    return this.chatClosing(index, '{}', finish, null, usage, tail);
  }

  end(usage: TotalUsage, usageAsked: boolean, metrics: RequestMetrics | undefined): string {
    return usageAsked ? this.usage(usage, metrics) + DONE_FRAME : DONE_FRAME;
  }

  broken(message: string): string {
    return errorFrame(message) + DONE_FRAME;
  }

  body(choices: readonly BodyChoice[], usage: TotalUsage, metrics: RequestMetrics | undefined): string {
    return responseBody(this.head, choices, usage, this.serverFingerprint, metrics);
  }

  errorBody(message: string): string {
    return JSON.stringify(internalError(message).body);
  }

  private fingerprintField(): string {
    return this.usageFollows ? '' : `,"system_fingerprint":"${this.serverFingerprint}"`;
  }

  private usage(usage: TotalUsage, metrics: RequestMetrics | undefined): string {
    let fields = countFields(usage);
    if (usage.cachedTokens !== undefined) {
      const created = this.head.kind === 'chat' ? `,"created_cache_tokens":${usage.createdCacheTokens ?? 0}` : '';
      fields += `,"prompt_tokens_details":{"cached_tokens":${usage.cachedTokens}${created}}`;
    }
    const measured = metrics === undefined ? '' : `,"metrics":${JSON.stringify(metrics)}`;
    return `${this.open}],"usage":{${fields}},"system_fingerprint":"${this.serverFingerprint}"${measured}}\n\n`;
  }

  private chat(index: number, delta: string, usage: ChoiceUsage | undefined): string {
    const choice = `{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":null,"token_ids":null}`;
    return `${this.open}${choice}]${this.usageField(usage)}}\n\n`;
  }

  private chatClosing(
    index: number,
    delta: string,
    finish: FinishWord,
    stopReason: string | null,
    usage: ChoiceUsage | undefined,
    tail: string,
  ): string {
    const choice = `{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":"${finish}","stop_reason":${JSON.stringify(stopReason)},"token_ids":null}`;
    return `${this.open}${choice}]${this.usageField(usage)}${tail}}\n\n`;
  }

  private completion(
    index: number,
    text: string,
    finish: FinishWord | null,
    stopReason: string | null,
    usage: ChoiceUsage | undefined,
    tail: string,
    promptIds?: readonly number[],
  ): string {
    const choice =
      `{"index":${index},"text":${JSON.stringify(text)},"logprobs":null,"finish_reason":${JSON.stringify(finish)},` +
      `"stop_reason":${JSON.stringify(stopReason)},"prompt_token_ids":${JSON.stringify(promptIds ?? null)},"token_ids":null}`;
    return `${this.open}${choice}]${this.usageField(usage)}${tail}}\n\n`;
  }

  private usageField(usage: ChoiceUsage | undefined): string {
    if (usage === undefined) return '';
    const details = this.head.kind === 'chat' ? ',"completion_tokens_details":null' : '';
    return `,"usage":{${countFields(usage)}${details}}`;
  }
}

function countFields({ promptTokens, completionTokens }: ChoiceUsage): string {
  return `"prompt_tokens":${promptTokens},"total_tokens":${promptTokens + completionTokens},"completion_tokens":${completionTokens}`;
}

export interface BodyChoice {
  readonly index: number;
  readonly text: string;
  readonly toolCall: { readonly id: string; readonly name: string } | undefined;
  readonly finish: FinishWord;
  readonly stopReason: string | null;
}

/** The body of an answer that is not streamed. */
export function responseBody(
  head: ResponseHead,
  choices: readonly BodyChoice[],
  usage: TotalUsage,
  fingerprint: string,
  metrics: RequestMetrics | undefined,
): string {
  const chat = head.kind === 'chat';
  const details =
    usage.cachedTokens === undefined
      ? null
      : {
          cached_tokens: usage.cachedTokens,
          created_cache_tokens: chat ? (usage.createdCacheTokens ?? 0) : null,
          multimodal_tokens: null,
        };
  return JSON.stringify({
    id: head.id,
    object: chat ? 'chat.completion' : 'text_completion',
    created: head.created,
    model: head.model,
    choices: chat ? choices.map(chatChoice) : choices.map(completionChoice),
    service_tier: null,
    system_fingerprint: fingerprint,
    usage: {
      prompt_tokens: usage.promptTokens,
      total_tokens: usage.promptTokens + usage.completionTokens,
      completion_tokens: usage.completionTokens,
      prompt_tokens_details: details,
      completion_tokens_details: null,
    },
    ...(chat ? { prompt_logprobs: null, prompt_token_ids: null, prompt_text: null } : {}),
    kv_transfer_params: null,
    ec_transfer_params: null,
    metrics: metrics ? { ...metrics, speculative_decoding: null } : null,
  });
}

function chatChoice({ index, text, toolCall, finish, stopReason }: BodyChoice) {
  return {
    index,
    message: {
      role: 'assistant',
      content: toolCall ? null : text,
      refusal: null,
      annotations: null,
      audio: null,
      function_call: null,
      ...(toolCall
        ? { tool_calls: [{ id: toolCall.id, type: 'function', function: { name: toolCall.name, arguments: text } }] }
        : {}),
      reasoning: null,
    },
    logprobs: null,
    finish_reason: finish,
    stop_reason: stopReason,
    token_ids: null,
    routed_experts: null,
  };
}

function completionChoice({ index, text, finish, stopReason }: BodyChoice) {
  return {
    index,
    text,
    logprobs: null,
    finish_reason: finish,
    stop_reason: stopReason,
    token_ids: null,
    prompt_logprobs: null,
    prompt_token_ids: null,
    routed_experts: null,
  };
}
