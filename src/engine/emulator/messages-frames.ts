import type { AnswerFrames, BodyChoice, FinishWord, ResponseHead, TotalUsage } from './frames.js';

/** What vLLM 0.29 and 0.32 say when the engine dies under a stream: their own converter trips over the error frame. */
const CONVERTER_TRIPPED =
  "2 validation errors for ChatCompletionStreamResponse\nmodel\n  Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': 500}}, input_type=dict]\n" +
  "    For further information visit https://errors.pydantic.dev/2.14/v/missing\nchoices\n  Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': 500}}, input_type=dict]\n" +
  '    For further information visit https://errors.pydantic.dev/2.14/v/missing';

/** Anthropic's Messages API, as vLLM makes it out of its chat answers. */
export class MessagesFrames implements AnswerFrames {
  private block: 'text' | 'tool_use' | undefined;
  private stopReason = 'end_turn';

  constructor(
    private readonly head: ResponseHead,
    private readonly inputTokens: number,
    /** 0.32 names the stop sequence at the end, too. */
    private readonly namesSequence = false,
  ) {}

  begin(): string {
    return '';
  }

  role(): string {
    const message = {
      id: this.head.id,
      type: 'message',
      role: 'assistant',
      content: [],
      model: this.head.model,
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: this.inputTokens, output_tokens: 0 },
    };
    return event({ type: 'message_start', message });
  }

  content(_index: number, text: string): string {
    const delta = event({ type: 'content_block_delta', delta: { type: 'text_delta', text }, index: 0 });
    if (this.block) return delta;
    this.block = 'text';
    return event({ type: 'content_block_start', content_block: { type: 'text', text: '' }, index: 0 }) + delta;
  }

  closing(index: number, text: string, finish: FinishWord, stopReason: string | null): string {
    this.stopReason = stopWord(finish, stopReason);
    return (text === '' ? '' : this.content(index, text)) + this.blockEnd();
  }

  toolCallOpening(_index: number, callId: string, name: string): string {
    this.block = 'tool_use';
    const content_block = { type: 'tool_use', id: callId, name, input: {} };
    return event({ type: 'content_block_start', content_block, index: 0 });
  }

  toolCallArguments(_index: number, text: string): string {
    return event({ type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: text }, index: 0 });
  }

  toolCallClosing(_index: number, finish: FinishWord): string {
    this.stopReason = finish === 'length' ? 'max_tokens' : 'tool_use';
    return this.blockEnd();
  }

  end(usage: TotalUsage): string {
    return (
      event({
        type: 'message_delta',
        delta: { stop_reason: this.stopReason, ...(this.namesSequence ? { stop_sequence: null } : {}) },
        usage: usageOf(usage),
      }) + event({ type: 'message_stop' })
    );
  }

  broken(): string {
    const error = { type: 'internal_error', message: CONVERTER_TRIPPED };
    return `event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`;
  }

  body(choices: readonly BodyChoice[], usage: TotalUsage): string {
    const { text, toolCall, finish, stopReason } = choices[0]!;
    const content = toolCall
      ? [{ type: 'tool_use', id: toolCall.id, name: toolCall.name, input: parsed(text) }]
      : [{ type: 'text', text }];
    return JSON.stringify({
      id: this.head.id,
      type: 'message',
      role: 'assistant',
      content,
      model: this.head.model,
      stop_reason: toolCall && finish !== 'length' ? 'tool_use' : stopWord(finish, stopReason),
      usage: usageOf(usage),
    });
  }

  errorBody(message: string): string {
    return JSON.stringify({ type: 'error', error: { type: 'InternalServerError', message } });
  }

  private blockEnd(): string {
    return this.block ? event({ type: 'content_block_stop', index: 0 }) : '';
  }
}

function event(fields: { readonly type: string; readonly [name: string]: unknown }): string {
  return `event: ${fields.type}\ndata: ${JSON.stringify(fields)}\n\n`;
}

function stopWord(finish: FinishWord, stopReason: string | null): string {
  if (finish === 'length') return 'max_tokens';
  if (finish === 'tool_calls') return 'tool_use';
  return stopReason === null ? 'end_turn' : 'stop_sequence';
}

/** With --enable-prompt-tokens-details, input tokens are those that were neither read from the cache nor written to it. */
function usageOf({ promptTokens, completionTokens, cachedTokens, createdCacheTokens = 0 }: TotalUsage) {
  if (cachedTokens === undefined) return { input_tokens: promptTokens, output_tokens: completionTokens };
  return {
    input_tokens: promptTokens - cachedTokens - createdCacheTokens,
    output_tokens: completionTokens,
    cache_creation_input_tokens: createdCacheTokens,
    cache_read_input_tokens: cachedTokens,
  };
}

/** Arguments that were cut off are no JSON; vLLM gives an empty object then. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
