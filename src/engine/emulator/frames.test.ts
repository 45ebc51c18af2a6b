import { describe, expect, it } from 'vitest';
import { errorFrame, FrameWriter, type ResponseHead, responseBody } from './frames.js';

/** Frames and bodies captured from vLLM 0.29.0; only ids and texts were left to the model. */
const chat: ResponseHead = { kind: 'chat', id: 'chatcmpl-1', created: 1795245013, model: 'tiny' };
const completion: ResponseHead = { kind: 'completion', id: 'cmpl-1', created: 1795245019, model: 'tiny' };
const F = 'vllm-0.29.0-4836a5a1';
const CHAT = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795245013,"model":"tiny",';
const COMPLETION = '{"id":"cmpl-1","object":"text_completion","created":1795245019,"model":"tiny",';

describe('FrameWriter', () => {
  const plain = new FrameWriter(chat, F, false);
  const withUsage = new FrameWriter(chat, F, true);
  const texts = new FrameWriter(completion, F, false);
  const usage = { promptTokens: 19, completionTokens: 6 };
  const table: readonly (readonly [name: string, frame: string, captured: string])[] = [
    [
      'role',
      plain.role(0, undefined),
      `${CHAT}"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}`,
    ],
    [
      'role with continuous usage',
      plain.role(0, { promptTokens: 19, completionTokens: 0 }),
      `${CHAT}"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":19,"total_tokens":19,"completion_tokens":0,"completion_tokens_details":null},"prompt_token_ids":null,"prompt_text":null}`,
    ],
    [
      'content',
      plain.content(0, 'work', undefined),
      `${CHAT}"choices":[{"index":0,"delta":{"content":"work"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
    ],
    [
      'last content without a usage frame',
      plain.closing(0, 'up', 'length', null, undefined),
      `${CHAT}"choices":[{"index":0,"delta":{"content":"up"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}],"system_fingerprint":"${F}"}`,
    ],
    [
      'last content before a usage frame',
      withUsage.closing(0, 'which', 'length', null, usage),
      `${CHAT}"choices":[{"index":0,"delta":{"content":"which"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}],"usage":{"prompt_tokens":19,"total_tokens":25,"completion_tokens":6,"completion_tokens_details":null}}`,
    ],
    [
      'stop string',
      plain.closing(0, 'nam', 'stop', 'e', undefined),
      `${CHAT}"choices":[{"index":0,"delta":{"content":"nam"},"logprobs":null,"finish_reason":"stop","stop_reason":"e","token_ids":null}],"system_fingerprint":"${F}"}`,
    ],
    [
      'usage frame',
      withUsage.end({ ...usage, cachedTokens: 0, createdCacheTokens: 0 }, true, undefined),
      `${CHAT}"choices":[],"usage":{"prompt_tokens":19,"total_tokens":25,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0}},"system_fingerprint":"${F}"}\n\ndata: [DONE]`,
    ],
    [
      'usage frame without details',
      withUsage.end(usage, true, undefined),
      `${CHAT}"choices":[],"usage":{"prompt_tokens":19,"total_tokens":25,"completion_tokens":6},"system_fingerprint":"${F}"}\n\ndata: [DONE]`,
    ],
    [
      'tool call',
      plain.toolCallOpening(0, 'chatcmpl-tool-983797f632c3b889', 'look', { promptTokens: 195, completionTokens: 21 }),
      `${CHAT}"choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"id":"chatcmpl-tool-983797f632c3b889","type":"function","index":0,"function":{"name":"look"}}]},"logprobs":null,"finish_reason":null,"token_ids":null}],"usage":{"prompt_tokens":195,"total_tokens":216,"completion_tokens":21,"completion_tokens_details":null}}`,
    ],
    [
      'tool call arguments',
      plain.toolCallArguments(0, '{', undefined),
      `${CHAT}"choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"index":0,"function":{"arguments":"{"}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
    ],
    [
      'tool call end',
      withUsage.toolCallClosing(0, 'tool_calls', undefined),
      `${CHAT}"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls","stop_reason":null,"token_ids":null}]}`,
    ],
    [
      'completion',
      texts.content(0, 'ear', undefined),
      `${COMPLETION}"choices":[{"index":0,"text":"ear","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}]}`,
    ],
    [
      'completion with forced usage',
      texts.content(0, ' little', { promptTokens: 4, completionTokens: 1 }),
      `${COMPLETION}"choices":[{"index":0,"text":" little","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":{"prompt_tokens":4,"total_tokens":5,"completion_tokens":1}}`,
    ],
    [
      'completion that echoes its prompt',
      texts.content(0, 'the way of waterC', undefined, [426, 428, 355, 495]),
      `${COMPLETION}"choices":[{"index":0,"text":"the way of waterC","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":[426,428,355,495],"token_ids":null}]}`,
    ],
    [
      'aborted completion',
      texts.closing(0, '', 'abort', null, undefined),
      `${COMPLETION}"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"abort","stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"system_fingerprint":"${F}"}`,
    ],
    [
      'completion usage frame',
      texts.end({ promptTokens: 4, completionTokens: 6, cachedTokens: 0 }, true, undefined),
      `${COMPLETION}"choices":[],"usage":{"prompt_tokens":4,"total_tokens":10,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0}},"system_fingerprint":"${F}"}\n\ndata: [DONE]`,
    ],
  ];

  it.each(table)('%s', (_name, frame, captured) => {
    expect(frame).toBe(`data: ${captured}\n\n`);
  });

  it('spaces its error frames as the real server does', () => {
    expect(errorFrame('gone')).toBe(
      'data: {"error": {"message": "gone", "type": "InternalServerError", "param": null, "code": 500}}\n\n',
    );
  });
});

describe('responseBody', () => {
  const choice = {
    index: 0,
    text: ' prewas our% day',
    toolCall: undefined,
    finish: 'length' as const,
    stopReason: null,
  };

  it('is the captured body of a chat', () => {
    const usage = { promptTokens: 19, completionTokens: 6, cachedTokens: 0, createdCacheTokens: 0 };
    expect(responseBody(chat, [choice], usage, F, undefined)).toBe(
      `{"id":"chatcmpl-1","object":"chat.completion","created":1795245013,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":" prewas our% day","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"routed_experts":null}],"service_tier":null,"system_fingerprint":"${F}","usage":{"prompt_tokens":19,"total_tokens":25,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0,"multimodal_tokens":null},"completion_tokens_details":null},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}`,
    );
  });

  it('is the captured body of a completion', () => {
    const usage = { promptTokens: 4, completionTokens: 6, cachedTokens: 0 };
    const body = responseBody(completion, [{ ...choice, text: ' water' }], usage, F, undefined);
    expect(body).toBe(
      `{"id":"cmpl-1","object":"text_completion","created":1795245019,"model":"tiny","choices":[{"index":0,"text":" water","logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}],"service_tier":null,"system_fingerprint":"${F}","usage":{"prompt_tokens":4,"total_tokens":10,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":null,"multimodal_tokens":null},"completion_tokens_details":null},"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}`,
    );
  });
});
