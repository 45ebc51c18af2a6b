import { randomBytes } from 'node:crypto';
import type { AnswerFrames, BodyChoice, FinishWord, RequestMetrics, ResponseHead, TotalUsage } from './frames.js';
import { internalError } from './http-error.js';

/** Fields of the request that the answer of /v1/responses repeats. */
export interface ResponsesEcho {
  readonly instructions: string | null;
  readonly metadata: unknown;
  readonly toolChoice: unknown;
  readonly tools: readonly unknown[];
  readonly maxOutputTokens: number;
  readonly previousResponseId: string | null;
  readonly background: boolean;
  readonly user: string | null;
  /** As 0.32 has it: tokens written to the cache are told, and an item has no summary. */
  readonly newer: boolean;
}

type Status = 'in_progress' | 'completed' | 'incomplete';

/** The Responses API, as vLLM streams it: typed events with sequence numbers, no `[DONE]`. */
export class ResponsesFrames implements AnswerFrames {
  private sequence = 0;
  private text = '';
  private item: { readonly id: string; readonly callId?: string; readonly name?: string } | undefined;
  private finish: FinishWord = 'stop';

  constructor(
    private readonly head: ResponseHead,
    private readonly echo: ResponsesEcho,
  ) {}

  begin(): string {
    const response = this.response('in_progress', [], undefined);
    return this.event('response.created', { response }) + this.event('response.in_progress', { response });
  }

  role(): string {
    return '';
  }

  content(_index: number, text: string): string {
    let frames = '';
    if (!this.item) {
      this.item = { id: randomId() };
      const item = {
        id: this.item.id,
        content: [],
        role: 'assistant',
        status: 'in_progress',
        type: 'message',
        phase: null,
      };
      frames += this.event('response.output_item.added', { item, output_index: 0 });
      frames += this.part('response.content_part.added', {
        annotations: [],
        text: '',
        type: 'output_text',
        logprobs: [],
      });
    }
    this.text += text;
    const delta = { content_index: 0, delta: text, item_id: this.item.id, logprobs: [], output_index: 0 };
    return frames + this.event('response.output_text.delta', delta);
  }

  closing(index: number, text: string, finish: FinishWord): string {
    this.finish = finish;
    const last = text === '' && this.item ? '' : this.content(index, text);
    const { id } = this.item!;
    const done = { content_index: 0, item_id: id, logprobs: [], output_index: 0 };
    const part = { annotations: [], text: this.text, type: 'output_text', logprobs: null };
    const item = {
      id,
      content: [part],
      role: 'assistant',
      status: 'completed',
      type: 'message',
      phase: null,
      ...(this.echo.newer ? {} : { summary: [] }),
    };
    return (
      last +
      this.frame('response.output_text.done', { ...done, sequence_number: this.sequence++, text: this.text }) +
      this.part('response.content_part.done', part) +
      this.event('response.output_item.done', { item, output_index: 0 })
    );
  }

  toolCallOpening(_index: number, _callId: string, name: string): string {
    this.item = { id: randomId(), callId: `call_${randomId()}`, name };
    return this.event('response.output_item.added', { item: this.call('', 'in_progress'), output_index: 0 });
  }

  toolCallArguments(_index: number, text: string): string {
    this.text += text;
    return this.event('response.function_call_arguments.delta', {
      delta: text,
      item_id: this.item!.id,
      output_index: 0,
    });
  }

  toolCallClosing(_index: number, finish: FinishWord): string {
    this.finish = finish;
    const { id, name } = this.item!;
    const done = { arguments: this.text, item_id: id, output_index: 0, sequence_number: this.sequence++ };
    return (
      this.frame('response.function_call_arguments.done', done, { name }) +
      this.event('response.output_item.done', { item: this.call(this.text, 'completed'), output_index: 0 })
    );
  }

  end(usage: TotalUsage): string {
    const output = this.item?.callId
      ? [{ ...this.call(this.text, 'completed'), id: `fc_${randomId()}` }]
      : this.item
        ? [message(this.text)]
        : [];
    const response = this.response(statusOf(this.finish), output, usage);
    return this.event('response.completed', { response });
  }

  broken(): undefined {
    return undefined;
  }

  body(choices: readonly BodyChoice[], usage: TotalUsage, _metrics?: RequestMetrics): string {
    const output = choices.map((choice) =>
      choice.toolCall
        ? {
            arguments: choice.text,
            call_id: choice.toolCall.id,
            name: choice.toolCall.name,
            type: 'function_call',
            id: `fc_${randomId()}`,
            async: null,
            caller: null,
            namespace: null,
            status: 'completed',
          }
        : message(choice.text),
    );
    return JSON.stringify(this.response(statusOf(choices[0]!.finish), output, usage));
  }

  errorBody(text: string): string {
    return JSON.stringify(internalError(text).body);
  }

  private call(args: string, status: 'in_progress' | 'completed') {
    const { id, callId, name } = this.item!;
    return {
      arguments: args,
      call_id: callId,
      name,
      type: 'function_call',
      id,
      async: null,
      caller: null,
      namespace: null,
      status,
    };
  }

  private part(type: string, part: object): string {
    return this.frame(type, {
      content_index: 0,
      item_id: this.item!.id,
      output_index: 0,
      part,
      sequence_number: this.sequence++,
    });
  }

  private event(type: string, fields: object): string {
    return this.frame(type, { ...fields, sequence_number: this.sequence++ });
  }

  private frame(type: string, fields: object, after: object = {}): string {
    return `event: ${type}\ndata: ${JSON.stringify({ ...fields, type, ...after })}\n\n`;
  }

  private response(status: Status, output: readonly unknown[], usage: TotalUsage | undefined) {
    const { head, echo } = this;
    return {
      id: head.id,
      created_at: head.created,
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      instructions: echo.instructions,
      metadata: echo.metadata,
      model: head.model,
      object: 'response',
      output,
      parallel_tool_calls: true,
      temperature: 0.9,
      tool_choice: echo.toolChoice,
      tools: echo.tools,
      top_p: 0.95,
      background: echo.background,
      max_output_tokens: echo.maxOutputTokens,
      max_tool_calls: null,
      previous_response_id: echo.previousResponseId,
      prompt: null,
      reasoning: null,
      service_tier: 'auto',
      status,
      text: null,
      top_logprobs: null,
      truncation: 'disabled',
      usage: usage ? this.usage(usage) : null,
      user: echo.user,
      presence_penalty: 0,
      frequency_penalty: 0,
      kv_transfer_params: null,
      ec_transfer_params: null,
      input_messages: null,
      output_messages: null,
    };
  }

  private usage({ promptTokens, completionTokens, cachedTokens }: TotalUsage) {
    return {
      input_tokens: promptTokens,
      input_tokens_details: {
        cached_tokens: cachedTokens ?? 0,
        ...(this.echo.newer ? { cache_write_tokens: 0 } : {}),
        input_tokens_per_turn: [],
        cached_tokens_per_turn: [],
      },
      output_tokens: completionTokens,
      output_tokens_details: {
        reasoning_tokens: 0,
        tool_output_tokens: 0,
        output_tokens_per_turn: [],
        tool_output_tokens_per_turn: [],
      },
      total_tokens: promptTokens + completionTokens,
    };
  }
}

/** An answer that reached its limit is incomplete; the others are complete. */
function statusOf(finish: FinishWord): Status {
  return finish === 'length' ? 'incomplete' : 'completed';
}

function message(text: string) {
  return {
    id: `msg_${randomId()}`,
    content: [{ annotations: [], text, type: 'output_text', logprobs: null }],
    role: 'assistant',
    status: 'completed',
    type: 'message',
    phase: null,
  };
}

function randomId(): string {
  return randomBytes(8).toString('hex');
}
