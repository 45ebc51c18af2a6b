/** The SDKs that people use, in front of two emulated engines, as their own documentation shows them. */

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { HumanMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { generateObject, generateText, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { launchEmulator, type RunningEmulator } from '../../src/engine/emulator/launch.js';

const SCALE = 50;
const engines: RunningEmulator[] = [];
let served: Served;
let base = '';

beforeAll(async () => {
  for (let index = 0; index < 2; index++) {
    engines.push(
      await launchEmulator(
        {
          model: 'llama-3.1-8b',
          gpu: 'h100-sxm',
          servedModelNames: ['tiny'],
          schedulingPolicy: 'priority',
          enablePromptTokensDetails: true,
          enableAutoToolChoice: true,
          toolCallParser: 'hermes',
          responsesStore: true,
          timeScale: SCALE,
          seed: index,
        },
        new WallClock(SCALE),
      ),
    );
  }
  served = await serve({
    config: parseConfig('observe: {logLevel: silent}', 'test'),
    vllmUrls: engines.map(({ url }) => url),
    port: 0,
  });
  base = `${served.address}/v1`;
});

afterAll(async () => {
  await served.stop(0);
  await Promise.all(engines.map((engine) => engine.close()));
});

const TOOL = {
  name: 'look',
  description: 'look up',
  parameters: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] },
};

async function openRequests(): Promise<number> {
  let open = 0;
  for (const { url } of engines) {
    const { body } = await request(`${url}/_emulator/ledger`);
    open += ((await body.json()) as { open: number }).open;
  }
  return open;
}

async function untilNoneIsOpen(): Promise<void> {
  while ((await openRequests()) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('openai', () => {
  const client = () => new OpenAI({ baseURL: base, apiKey: 'none', maxRetries: 0 });

  it('chats, streams and counts', async () => {
    const whole = await client().chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'hello' }],
      max_completion_tokens: 5,
    });
    expect(whole.choices[0]!.message.content).toBeTruthy();
    expect(whole.usage!.completion_tokens).toBe(5);
    const stream = await client().chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'hello' }],
      max_completion_tokens: 5,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let tokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect(text).toBeTruthy();
    expect(tokens).toBe(5);
  });

  it('calls tools, whole and streamed', async () => {
    const asked = {
      model: 'tiny',
      messages: [{ role: 'user' as const, content: 'look it up' }],
      tools: [{ type: 'function' as const, function: TOOL }],
      tool_choice: 'required' as const,
    };
    const whole = await client().chat.completions.create(asked);
    const [call] = whole.choices[0]!.message.tool_calls!;
    expect(call!.type === 'function' && JSON.parse(call!.function.arguments)).toHaveProperty('q');
    const runner = client().chat.completions.stream(asked);
    const final = await runner.finalChatCompletion();
    expect(final.choices[0]!.finish_reason).toBe('tool_calls');
  });

  it('uses the Responses API: whole, streamed, by id, continued on the engine that has it', async () => {
    const first = await client().responses.create({ model: 'tiny', input: 'hello', max_output_tokens: 16 });
    expect(first.output_text).toBeTruthy();
    const again = await client().responses.retrieve(first.id);
    expect(again.output_text).toBe(first.output_text);
    for (let turn = 0; turn < 4; turn++) {
      const next = await client().responses.create({ model: 'tiny', input: 'go on', previous_response_id: first.id });
      expect(next.usage!.input_tokens).toBeGreaterThan(first.usage!.input_tokens);
    }
    const types: string[] = [];
    const stream = await client().responses.create({ model: 'tiny', input: 'hello', stream: true });
    for await (const event of stream) types.push(event.type);
    expect([types[0], types.at(-1)]).toEqual(['response.created', 'response.completed']);
    await expect(client().responses.cancel(first.id)).rejects.toMatchObject({ status: 400 });
    await expect(client().responses.retrieve('resp_unknown')).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining('resp_unknown'),
    });
  });

  it('tells errors in its own classes, and stops the engine when it aborts', async () => {
    const wrong = client().chat.completions.create({ model: 'nope', messages: [{ role: 'user', content: 'x' }] });
    await expect(wrong).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const stream = await client().chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'x' }],
      max_completion_tokens: 100_000,
      stream: true,
      ...{ ignore_eos: true },
    });
    for await (const _chunk of stream) break;
    stream.controller.abort();
    await untilNoneIsOpen();
  });
});

describe('@anthropic-ai/sdk', () => {
  const client = () => new Anthropic({ baseURL: served.address, apiKey: 'none', maxRetries: 0 });
  const messages = [{ role: 'user' as const, content: 'hello' }];

  it('talks, streams and counts tokens', async () => {
    const whole = await client().messages.create({ model: 'tiny', max_tokens: 5, messages });
    expect(whole.content[0]).toMatchObject({ type: 'text' });
    expect(whole.usage.output_tokens).toBe(5);
    const final = await client().messages.stream({ model: 'tiny', max_tokens: 5, messages }).finalMessage();
    expect(final.stop_reason).toBe('max_tokens');
    const { input_tokens } = await client().messages.countTokens({ model: 'tiny', messages });
    expect(input_tokens).toBeGreaterThan(0);
  });

  it('uses tools', async () => {
    const answer = await client().messages.create({
      model: 'tiny',
      max_tokens: 500,
      messages,
      tools: [
        { name: TOOL.name, description: TOOL.description, input_schema: TOOL.parameters as Anthropic.Tool.InputSchema },
      ],
      tool_choice: { type: 'any' },
    });
    expect(answer.content[0]).toMatchObject({ type: 'tool_use', name: 'look', input: { q: expect.any(String) } });
  });

  it('tells errors in its own classes, and stops the engine when it aborts', async () => {
    const wrong = client().messages.create({ model: 'nope', max_tokens: 5, messages });
    await expect(wrong).rejects.toBeInstanceOf(Anthropic.NotFoundError);
    const stream = client().messages.stream({ model: 'tiny', max_tokens: 100_000, messages, ...{ ignore_eos: true } });
    await new Promise((resolve) => stream.once('text', resolve));
    stream.abort();
    await stream.done().catch(() => undefined);
    await untilNoneIsOpen();
  });
});

describe('Vercel AI SDK', () => {
  const model = () =>
    createOpenAICompatible({
      name: 'maestro',
      baseURL: base,
      headers: { 'x-session-id': 'vercel-1' },
      includeUsage: true,
    })('tiny');

  it('generates, streams and calls tools', async () => {
    const whole = await generateText({ model: model(), prompt: 'hello', maxOutputTokens: 5 });
    expect(whole.text).toBeTruthy();
    expect(whole.usage.outputTokens).toBe(5);
    const stream = streamText({ model: model(), prompt: 'hello', maxOutputTokens: 5 });
    let text = '';
    for await (const piece of stream.textStream) text += piece;
    expect(text).toBeTruthy();
    const called = await generateText({
      model: model(),
      prompt: 'look it up',
      tools: { look: tool({ description: 'look up', inputSchema: z.object({ q: z.string() }) }) },
      toolChoice: 'required',
    });
    expect(called.toolCalls[0]).toMatchObject({ toolName: 'look', input: { q: expect.any(String) } });
  });

  it('carries its session as the workflow', async () => {
    const whole = await generateText({ model: model(), prompt: 'hello', maxOutputTokens: 2 });
    expect(whole.response.headers).toMatchObject({ 'x-maestro-workflow': 'vercel-1' });
  });
});

describe('LangChain.js', () => {
  const model = () =>
    new ChatOpenAI({ model: 'tiny', apiKey: 'none', maxRetries: 0, configuration: { baseURL: base }, maxTokens: 200 });

  it('speaks the Responses API too', async () => {
    const responses = new ChatOpenAI({
      model: 'tiny',
      apiKey: 'none',
      maxRetries: 0,
      useResponsesApi: true,
      configuration: { baseURL: base },
    });
    const whole = await responses.invoke([new HumanMessage('hello')], { timeout: 10_000 });
    expect(whole.text).toBeTruthy();
    let text = '';
    for await (const chunk of await responses.stream('hello')) text += chunk.text;
    expect(text).toBeTruthy();
  });

  it('invokes, streams and binds tools', async () => {
    const whole = await model().invoke([new HumanMessage('hello')]);
    expect(whole.content).toBeTruthy();
    expect(whole.usage_metadata).toMatchObject({ output_tokens: expect.any(Number) });
    let text = '';
    for await (const chunk of await model().stream('hello')) text += chunk.content;
    expect(text).toBeTruthy();
    const look = langchainTool(async ({ q }: { q: string }) => q, {
      name: 'look',
      description: 'look up',
      schema: z.object({ q: z.string() }),
    });
    const called = await model().bindTools([look], { tool_choice: 'required' }).invoke('look it up');
    expect(called.tool_calls![0]).toMatchObject({ name: 'look' });
  });
});

describe('answers by a schema', () => {
  const person = z.object({
    name: z.string(),
    age: z.number().int(),
    mood: z.enum(['glad', 'sad']),
    tags: z.array(z.string()),
    home: z.object({ city: z.string(), street: z.string().nullable() }),
  });
  const prompt = 'who?';

  it('fit it, in every client that reads them', async () => {
    const openai = new OpenAI({ baseURL: base, apiKey: 'none', maxRetries: 0 });
    const chat = await openai.chat.completions.parse({
      model: 'tiny',
      messages: [{ role: 'user', content: prompt }],
      response_format: zodResponseFormat(person, 'person'),
    });
    expect(chat.choices[0]!.message.parsed).toMatchObject({ home: { city: expect.any(String) } });
    const response = await openai.responses.parse({
      model: 'tiny',
      input: prompt,
      text: { format: zodTextFormat(person, 'person') },
    });
    expect(response.output_parsed).toMatchObject({ home: { city: expect.any(String) } });
    const vercel = createOpenAICompatible({ name: 'maestro', baseURL: base, supportsStructuredOutputs: true });
    const { object } = await generateObject({ model: vercel('tiny'), schema: person, prompt });
    expect(object.name).toBeTruthy();
    const langchain = new ChatOpenAI({
      model: 'tiny',
      apiKey: 'none',
      maxRetries: 0,
      configuration: { baseURL: base },
    });
    expect(await langchain.withStructuredOutput(person).invoke(prompt)).toHaveProperty('mood');
  });
});

describe('workflow, role and class that a client names once', () => {
  const run = { 'x-maestro-workflow': 'run-7', 'x-maestro-role': 'planner', 'x-maestro-class': 'batch' };
  const seen = async (headers: Headers) => {
    const id = headers.get('x-request-id');
    const { stage } = (await (await fetch(`${served.address}/v1/maestro/requests/${id}`)).json()) as {
      stage: Record<string, unknown>;
    };
    const { workflowId, role, sloClass } = stage;
    return { workflowId, role, sloClass, told: headers.get('x-maestro-identity-source') };
  };
  const expected = { workflowId: 'run-7', role: 'planner', sloClass: 'batch', told: 'maestro-headers' };
  const messages = [{ role: 'user' as const, content: 'hello' }];

  it('hold for every API of openai', async () => {
    const client = new OpenAI({ baseURL: base, apiKey: 'none', maxRetries: 0, defaultHeaders: run });
    const calls = [
      client.chat.completions.create({ model: 'tiny', messages, max_completion_tokens: 2 }).withResponse(),
      client.chat.completions.create({ model: 'tiny', messages, stream: true }).withResponse(),
      client.completions.create({ model: 'tiny', prompt: 'x' }).withResponse(),
      client.responses.create({ model: 'tiny', input: 'x' }).withResponse(),
    ];
    for (const call of calls) expect(await seen((await call).response.headers)).toEqual(expected);
  });

  it('hold for every API of Anthropic', async () => {
    const client = new Anthropic({ baseURL: served.address, apiKey: 'none', maxRetries: 0, defaultHeaders: run });
    const asked = { model: 'tiny', messages };
    const calls = [
      client.messages.create({ ...asked, max_tokens: 2 }).withResponse(),
      client.messages.create({ ...asked, max_tokens: 2, stream: true }).withResponse(),
      client.messages.countTokens(asked).withResponse(),
    ];
    for (const call of calls) expect(await seen((await call).response.headers)).toEqual(expected);
  });

  it('hold when a base URL is all that can be set', async () => {
    const path = `${served.address}/w/run-7/a/planner`;
    const openai = new OpenAI({ baseURL: `${path}/v1`, apiKey: 'none', maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: path, apiKey: 'none', maxRetries: 0 });
    const calls = [
      openai.chat.completions.create({ model: 'tiny', messages }).withResponse(),
      anthropic.messages.create({ model: 'tiny', messages, max_tokens: 2 }).withResponse(),
    ];
    for (const call of calls) {
      expect(await seen((await call).response.headers)).toEqual({ ...expected, sloClass: 'interactive', told: 'path' });
    }
  });

  it('is recognised where nothing names it: a conversation of a model and its tools', async () => {
    const client = new OpenAI({ baseURL: base, apiKey: 'none', maxRetries: 0 });
    const question = { role: 'user' as const, content: `a question of its own ${Date.now()}` };
    const tools = [{ type: 'function' as const, function: TOOL }];
    const asked = { model: 'tiny', messages: [question], tools, tool_choice: 'required' as const };
    const first = await client.chat.completions.create(asked).withResponse();
    const { message } = first.data.choices[0]!;
    const result = { role: 'tool' as const, tool_call_id: message.tool_calls![0]!.id, content: '1' };
    const second = await client.chat.completions
      .create({ model: 'tiny', messages: [question, message, result], tools })
      .withResponse();
    expect((await seen(second.response.headers)).workflowId).toBe((await seen(first.response.headers)).workflowId);
  });
});
