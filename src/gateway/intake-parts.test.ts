import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StageStart } from '../bus/contract.js';
import { JsonTail } from './answer-facts.js';
import { ConversationIndex } from './conversation-index.js';
import type { Identity } from './identity.js';
import type { Intake } from './intake.js';
import { scanBody } from './json-scan.js';
import { KeyRing } from './keys.js';
import { PromptHashes } from './prompt-hashes.js';
import { messageKind, readFields } from './request-fields.js';
import { ResponseHomes } from './response-homes.js';
import { type InferenceRoute, matchRoute } from './routes.js';
import { systemPrompt } from './system-prompt.js';
import { TokenEstimator } from './token-estimate.js';
import { upstreamBody } from './upstream-body.js';
import { WorkflowClock } from './workflow-clock.js';

function routeOf(path: string): InferenceRoute {
  const match = matchRoute('POST', path);
  if (match.kind !== 'route' || match.route.kind !== 'inference') throw new Error(path);
  return match.route;
}

const CHAT = routeOf('/v1/chat/completions');
const COMPLETIONS = routeOf('/v1/completions');
const RESPONSES = routeOf('/v1/responses');
const MESSAGES = routeOf('/v1/messages');

function fieldsOf(document: unknown, route = CHAT) {
  const body = Buffer.from(JSON.stringify(document));
  return readFields(body, scanBody(body, 50, route.messageList), route, 10);
}

const messages = [{ role: 'user', content: 'x' }];

describe('readFields', () => {
  it('reads what predictors use', () => {
    const fields = fieldsOf({
      model: 'm',
      messages: [{ role: 'developer', content: 's' }, ...messages, { role: 'tool', content: '1' }],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 50,
      max_completion_tokens: 70,
      tools: [{}, {}],
      tool_choice: { type: 'function', function: { name: 'f' } },
      response_format: { json_schema: { type: 'no' }, type: 'json_schema' },
      temperature: 0.5,
      reasoning_effort: 'high',
    });
    expect(fields).toMatchObject({ model: 'm', stream: true, wantsUsage: true, maxTokens: 70 });
    expect(fields.features).toEqual({
      toolsOffered: 2,
      toolChoice: 'named',
      responseFormat: 'json_schema',
      lastMessageKind: 'tool',
      messageCount: 3,
      temperature: 0.5,
      reasoning: true,
      stream: true,
    });
  });

  it('has plain defaults', () => {
    const fields = fieldsOf({ model: 'm', messages, stream: null, max_tokens: null, n: null });
    expect(fields).toMatchObject({ stream: false, wantsUsage: false, maxTokens: undefined, promptTokens: undefined });
    expect(fields.features).toMatchObject({ toolChoice: 'none', responseFormat: 'text', reasoning: false });
    expect(fieldsOf({ model: 'm', messages, tools: [{}] }).features.toolChoice).toBe('auto');
  });

  it('counts token ids exactly, and bounds a completion as vLLM does', () => {
    expect(fieldsOf({ model: 'm', prompt: [1, 2, 3] }, COMPLETIONS)).toMatchObject({ promptTokens: 3, maxTokens: 16 });
    expect(fieldsOf({ model: 'm', prompt: ['1', '2'] }, COMPLETIONS).promptTokens).toBeUndefined();
    expect(fieldsOf({ model: 'm', prompt: 'text' }, COMPLETIONS).promptTokens).toBeUndefined();
  });

  it.each([0, 11, '0', '300', '11.0', ' 1_1 ', 'many', [2], {}, `${' '.repeat(20_000)}11`])(
    'refuses %j choices',
    (count) => {
      for (const field of ['n', 'best_of']) {
        expect(() => fieldsOf({ model: 'm', messages, [field]: count })).toThrow(`"${field}" must be between 1 and 10`);
      }
    },
  );

  it.each([
    [{}, 1],
    [{ n: 3 }, 3],
    [{ n: '3', best_of: 5 }, 5],
    [{ n: true }, 1],
    [{ n: 2, prompt: ['a', 'b', 'c'] }, 6],
    [{ n: 2, prompt: [1, 2, 3] }, 2],
  ])('counts the answers that %j asks for', (asked, choices) => {
    expect(fieldsOf({ model: 'm', prompt: 'a', ...asked }, COMPLETIONS).choices).toBe(choices);
  });

  it.each(['4', 4, ' 4.0 '])('takes %j for a token limit of 4, as vLLM does', (limit) => {
    expect(fieldsOf({ model: 'm', messages, max_tokens: limit }).maxTokens).toBe(4);
  });

  const anthropic = (content: unknown) => ({ model: 'm', messages: [...messages, { role: 'user', content }] });
  const items = (...input: unknown[]) => ({ model: 'm', input: [{ role: 'user', content: 'x' }, ...input] });
  it.each([
    ['a text is a message', RESPONSES, { model: 'm', input: ' x' }, { lastMessageKind: 'user', messageCount: 1 }],
    ['items', RESPONSES, items({ role: 'assistant' }), { lastMessageKind: 'assistant', messageCount: 2 }],
    ['a tool call', RESPONSES, items({ type: 'function_call' }), { lastMessageKind: 'assistant' }],
    ['what a tool said', RESPONSES, items({ type: 'function_call_output' }), { lastMessageKind: 'tool' }],
    ['reasoning', RESPONSES, { ...items(), reasoning: { effort: 'low' } }, { reasoning: true }],
    ['no reasoning', RESPONSES, { ...items(), reasoning: { effort: 'none' } }, { reasoning: false }],
    [
      'a format',
      RESPONSES,
      { ...items(), text: { format: { type: 'json_schema', schema: {} } } },
      { responseFormat: 'json_schema' },
    ],
    ['what a tool said', MESSAGES, anthropic([{ type: 'tool_result', content: 'x' }]), { lastMessageKind: 'tool' }],
    ['content in parts', MESSAGES, anthropic([{ type: 'text', text: 'x' }]), { lastMessageKind: 'user' }],
    ['no content', MESSAGES, anthropic([]), { lastMessageKind: 'user' }],
    ['thinking', MESSAGES, { ...anthropic('x'), thinking: { type: 'enabled' } }, { reasoning: true }],
    ['no thinking', MESSAGES, { ...anthropic('x'), thinking: { type: 'disabled' } }, { reasoning: false }],
    [
      'any tool',
      MESSAGES,
      { ...anthropic('x'), tools: [{}], tool_choice: { type: 'any' } },
      { toolChoice: 'required' },
    ],
    ['auto', MESSAGES, { ...anthropic('x'), tools: [{}], tool_choice: { type: 'auto' } }, { toolChoice: 'auto' }],
    ['one tool', MESSAGES, { ...anthropic('x'), tool_choice: { type: 'tool', name: 'a' } }, { toolChoice: 'named' }],
  ] as const)('%s in %o', (_name, route, document, expected) => {
    expect(fieldsOf(document, route).features).toMatchObject(expected);
  });

  it('leaves media out of the prompt bytes', () => {
    const url = `data:image/png;base64,${'A'.repeat(100_000)}`;
    const fields = fieldsOf({ model: 'm', messages: [{ role: 'user', content: [{ image_url: { url } }] }] });
    expect(fields.promptBytes).toBeLessThan(100);
  });
});

it('a list of messages is a conversation only where it is the prompt', () => {
  const { features } = fieldsOf({ model: 'm', messages, prompt: 'a' }, COMPLETIONS);
  expect(features).toMatchObject({ lastMessageKind: 'none', messageCount: 0 });
});

describe('upstreamBody', () => {
  const START = { upstreamModel: 'served/"x"', priority: 12.7 } as StageStart;
  const rewrite = (text: string, start = START, route = CHAT) => {
    const body = Buffer.from(text);
    const scan = scanBody(body, 50, route.messageList);
    const intake = { body, room: body, scan, fields: readFields(body, scan, route, 10) } as Intake;
    return upstreamBody(intake, start, route).toString();
  };

  it.each([
    ['{"model":"m","messages":[]}', '{"model":"served/\\"x\\"","messages":[],"priority":12}'],
    ['{"priority":"low","model":"m","messages":[]}', '{"priority":12,"model":"served/\\"x\\"","messages":[]}'],
    [
      '{"model":"m","messages":[],"stream":true,"stream_options":null}',
      '{"model":"served/\\"x\\"","messages":[],"stream":true,"stream_options":{"include_usage":true},"priority":12}',
    ],
    [
      '{"stream_options":{"include_usage":false,"continuous_usage_stats":true,"x":1},"model":"m","messages":[],"stream":true}',
      '{"stream_options":{"include_usage":true,"x":1},"model":"served/\\"x\\"","messages":[],"stream":true,"priority":12}',
    ],
    [
      '{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true , "continuous_usage_stats":true}}',
      '{"model":"served/\\"x\\"","messages":[],"stream":true,"stream_options":{"include_usage":true , "continuous_usage_stats":true},"priority":12}',
    ],
    [
      '{"model":"m","messages":[],"stream_options":{}}',
      '{"model":"served/\\"x\\"","messages":[],"stream_options":{},"priority":12}',
    ],
  ])('%s', (given, expected) => {
    expect(rewrite(given)).toBe(expected);
  });

  it('leaves the priority of a message to its header, and empties what steers the engine', () => {
    const own = { ...START, upstreamModel: 'm' };
    expect(rewrite('{"model":"m","messages":[]}', own, MESSAGES)).toBe('{"model":"m","messages":[]}');
    expect(rewrite('{"model":"m","messages":[],"ec_transfer_params":{"a":1},"priority":-9}', own, MESSAGES)).toBe(
      '{"model":"m","messages":[],"ec_transfer_params":null,"priority":12}',
    );
  });

  it('tells the cache whose the prompt is, in place of what the client says', () => {
    const body = Buffer.from('{"model":"m","cache_salt":"mine","messages":[]}');
    const scan = scanBody(body, 50);
    const intake = { body, room: body, scan, fields: readFields(body, scan, CHAT, 10), cacheSalt: 'ours' } as Intake;
    const own = { ...START, upstreamModel: 'm', priority: 1 };
    expect(upstreamBody(intake, own, CHAT).toString()).toBe(
      '{"model":"m","cache_salt":"ours","messages":[],"priority":1}',
    );
    expect(rewrite('{"model":"m","cache_salt":"mine","messages":[]}', own)).toContain('"cache_salt":"mine"');
  });

  it('writes any priority as an integer that vLLM takes', () => {
    const priorities = [Number.NaN, Number.POSITIVE_INFINITY, -1e300, -0.5, 3].map(
      (priority) =>
        (JSON.parse(rewrite('{"model":"m","messages":[]}', { ...START, priority })) as { priority: number }).priority,
    );
    expect(priorities).toEqual([0, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0, 3]);
  });

  it('changes the wanted values of any body and nothing else', () => {
    const extra = fc.dictionary(
      fc.string().filter((key) => !/^(__proto__|model|messages|priority|stream.*|n|best_of|(kv|ec)_.*)$/.test(key)),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(extra, fc.boolean(), fc.option(fc.jsonValue(), { nil: undefined }), (fields, stream, kv) => {
        const document = {
          ...fields,
          model: 'm',
          messages,
          stream,
          ...(kv === undefined ? {} : { kv_transfer_params: kv }),
        };
        const text = JSON.stringify(document);
        // Compared as parsed, since JSON knows no negative zero.
        expect(JSON.parse(rewrite(text))).toEqual({
          ...(JSON.parse(text) as object),
          model: START.upstreamModel,
          priority: 12,
          ...(kv === undefined ? {} : { kv_transfer_params: null }),
          ...(stream ? { stream_options: { include_usage: true } } : {}),
        });
      }),
    );
  });
});

describe('ConversationIndex', () => {
  const index = () => new ConversationIndex(100);
  const resolve = (conversations: ConversationIndex, tenant: string, contents: [string, string][], id: string) => {
    const body = Buffer.from(JSON.stringify({ messages: contents.map(([role, content]) => ({ role, content })) }));
    const scan = scanBody(body, 50);
    const { messageOffsets } = scan;
    return conversations.resolve(
      tenant,
      messageOffsets.length / 2,
      new PromptHashes(body, scan.fields.messages!, undefined, messageOffsets),
      (at) => messageKind(body, scan, at) === 'assistant',
      id,
    );
  };
  const first: [string, string][] = [
    ['system', 's'],
    ['user', 'q'],
  ];
  const second: [string, string][] = [...first, ['assistant', 'a'], ['tool', 't']];
  const third: [string, string][] = [...second, ['assistant', 'b'], ['user', 'q2']];

  it('follows a conversation through all its turns', () => {
    const conversations = index();
    expect(resolve(conversations, 't', first, 'one')).toBeUndefined();
    expect(resolve(conversations, 't', second, 'two')).toBe('one');
    expect(resolve(conversations, 't', third, 'three')).toBe('one');
  });

  it('does not join tenants, other beginnings, or what goes on without an answer', () => {
    const conversations = index();
    resolve(conversations, 't', first, 'one');
    expect(resolve(conversations, 'other', second, 'two')).toBeUndefined();
    expect(resolve(conversations, 't', [['system', 'S'], ...second.slice(1)], 'two')).toBeUndefined();
    expect(resolve(conversations, 't', [...first, ['user', 'q2']], 'two')).toBeUndefined();
    expect(resolve(conversations, 't', [], 'two')).toBeUndefined();
  });
});

describe('systemPrompt', () => {
  const promptOf = (document: object) => {
    const body = Buffer.from(JSON.stringify(document));
    const range = systemPrompt(body, scanBody(body, 50));
    return range && body.subarray(range.start, range.end).toString();
  };
  it.each([
    [{ messages: [{ role: 'system', content: 'be' }] }, '{"role":"system","content":"be"}'],
    [{ messages }, undefined],
    [{ messages, system: null }, undefined],
    [{ messages, system: 'be brief' }, '"be brief"'],
    [{ input: 'x', instructions: 'be brief' }, '"be brief"'],
    [{ messages, system: [{ type: 'text', text: 'be brief' }] }, '[{"type":"text","text":"be brief"}]'],
    [
      {
        messages,
        system: [
          { type: 'text', text: 'x-anthropic-billing-header: cc_version=2; cch=0f3a1;' },
          { type: 'text', text: 'be brief' },
        ],
      },
      ',{"type":"text","text":"be brief"}]',
    ],
  ])('of %j', (document, expected) => {
    expect(promptOf(document)).toBe(expected);
  });
});

describe('ResponseHomes', () => {
  it('shows a response to its tenant alone, who keeps it when another names the same id', () => {
    const homes = new ResponseHomes();
    const home = (tenant: string) => ({ tenant, workflowId: 'w', start: {} as StageStart });
    homes.remember('resp_1', home('a'));
    homes.remember('resp_1', home('b'));
    expect(homes.find('resp_1', 'a')).toEqual(home('a'));
    expect(homes.find('resp_1', 'b')).toBeUndefined();
    expect(homes.find('resp_1', undefined)).toEqual(home('a'));
    expect(homes.find('resp_2', 'a')).toBeUndefined();
  });
});

describe('TokenEstimator', () => {
  it('starts at four bytes a token and learns each model apart', () => {
    const tokens = new TokenEstimator();
    expect(tokens.estimate('a', 400)).toBe(100);
    for (let index = 0; index < 200; index++) tokens.observe('a', 6000, 2000);
    expect(tokens.bytesPerToken('a')).toBeCloseTo(3, 1);
    for (let index = 0; index < 2000; index++) tokens.observe('a', 10_000, 2000);
    expect(tokens.bytesPerToken('a')).toBeCloseTo(5, 1);
    expect(tokens.estimate('b', 400)).toBe(100);
    expect(tokens.estimate('b', 0)).toBe(1);
  });
});

describe('WorkflowClock', () => {
  const identity = (fields: Partial<Identity>) =>
    ({
      tenant: 't',
      workflowId: 'w',
      deadlineMs: 1000,
      deadlineExplicit: false,
      sessionFinal: false,
      ...fields,
    }) as Identity;

  it('counts from the first call, takes a named deadline from any call, and begins anew after the end or a silence', () => {
    const clock = new WorkflowClock(10, 5000);
    expect(clock.deadlineAtMs(identity({}), 100)).toBe(1100);
    expect(clock.deadlineAtMs(identity({ deadlineMs: 9 }), 400)).toBe(1100);
    expect(clock.deadlineAtMs(identity({ deadlineMs: 3000, deadlineExplicit: true }), 500)).toBe(3100);
    expect(clock.deadlineAtMs(identity({ tenant: 'other' }), 500)).toBe(1500);
    expect(clock.deadlineAtMs(identity({ sessionFinal: true }), 600)).toBe(3100);
    expect(clock.deadlineAtMs(identity({}), 700)).toBe(1700);
    expect(clock.deadlineAtMs(identity({}), 6000)).toBe(7000);
  });
});

describe('KeyRing', () => {
  const ring = new KeyRing([
    { key: 'sk-one', tenant: 'a' },
    { key: 'sk-two', tenant: 'b' },
  ]);
  it('knows keys in both headers', () => {
    expect(ring.authenticate({ authorization: 'Bearer sk-two' })?.tenant).toBe('b');
    expect(ring.authenticate({ authorization: 'bearer sk-one' })?.tenant).toBe('a');
    expect(ring.authenticate({ 'x-api-key': 'sk-one' })?.tenant).toBe('a');
    expect(ring.authenticate({ authorization: '', 'x-api-key': 'sk-one' })?.tenant).toBe('a');
    expect(new KeyRing([]).authenticate({})).toBeUndefined();
  });
  it('looks at no key that is longer than 512 characters, even one of its own', () => {
    const [longest, longer] = ['x'.repeat(512), 'x'.repeat(513)];
    const both = new KeyRing([longest, longer].map((key) => ({ key, tenant: 'a' })));
    expect(both.authenticate({ authorization: `Bearer ${longest}` })?.tenant).toBe('a');
    expect(() => both.authenticate({ authorization: `Bearer ${longer}` })).toThrow(/API key/);
  });
  it.each([
    {},
    { authorization: 'Basic sk-one' },
    { authorization: 'Bearer ' },
    { 'x-api-key': '' },
    { 'x-api-key': 'x'.repeat(1e6) },
    { authorization: 'Bearer sk-one extra' },
  ])('refuses %j', (headers) => {
    expect(() => ring.authenticate(headers)).toThrow(/API key/);
  });
});

describe('JsonTail', () => {
  // The shape of a whole answer of vLLM 0.29, with the fields that follow the usage.
  const answer = (content: string) =>
    `{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":${JSON.stringify(content)}},"finish_reason":"length","stop_reason":null}],"service_tier":null,"usage":{"prompt_tokens":19,"total_tokens":25,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0},"completion_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null,"metrics":null}`;

  it.each(['short', '"usage":{"completion_tokens":99}', 'x'.repeat(100_000)])(
    'reads the end of an answer, however it is cut',
    (content) => {
      for (const pieceBytes of [7, 1000, 1e6]) {
        const tail = new JsonTail();
        const bytes = Buffer.from(answer(content));
        for (let offset = 0; offset < bytes.length; offset += pieceBytes)
          tail.push(bytes.subarray(offset, offset + pieceBytes));
        expect(tail.read()).toEqual({
          promptTokens: 19,
          outputTokens: 6,
          cachedTokens: 0,
          finishReason: 'length',
          toolCalled: false,
        });
      }
    },
  );

  it.each([
    ['{\n "usage": {\n  "prompt_tokens": 7,\n  "completion_tokens": 2\n }\n}', 7, 2],
    ['{"content":"\\"usage\\":{\\"input_tokens\\":9}","usage":{"input_tokens":7,"output_tokens":2}}', 7, 2],
    ['{"usage":{"prompt_tokens":null,"completion_tokens":2}}', undefined, 2],
    ['{"usage":{"prompt_tokens":1e3,"completion_tokens":-2}}', undefined, undefined],
    ['{"usage":null}', undefined, undefined],
  ])('reads whole numbers in whatever layout: %s', (text, promptTokens, outputTokens) => {
    const tail = new JsonTail();
    tail.push(Buffer.from(text));
    expect(tail.read()).toMatchObject({ promptTokens, outputTokens });
  });

  it.each([
    ['"tool_calls":[]', false],
    ['"tool_calls": []', false],
    ['"tool_calls":[{"id":"x"}]', true],
    ['"tool_calls": [{"id":"x"}]', true],
  ])('an empty list of calls is none: %s', (calls, toolCalled) => {
    const tail = new JsonTail();
    tail.push(Buffer.from(`{"choices":[{"message":{"content":"a",${calls}},"finish_reason":"stop"}]}`));
    expect(tail.read()).toMatchObject({ toolCalled });
  });

  it('reads nothing from nothing', () => {
    expect(new JsonTail().read()).toEqual({});
    const tail = new JsonTail();
    tail.push(Buffer.from('{"usage":{"prompt_tokens":'));
    expect(tail.read()).toEqual({});
    tail.push(Buffer.from('1'));
    expect(tail.read()).toEqual({});
  });
});
