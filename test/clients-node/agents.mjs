/**
 * The OpenAI Agents SDK in front of a running gateway: `node agents.mjs http://127.0.0.1:8080 MODEL`, by hand, in a folder that has it installed (docs/clients.md).
 * Runs an agent with a tool and a handoff, whole and streamed, over the Responses API and over chat completions, and looks at what the gateway made of each.
 */
import assert from 'node:assert/strict';
import { Agent, handoff, OpenAIProvider, Runner, setTracingDisabled, tool } from '@openai/agents';
import OpenAI from 'openai';
import { z } from 'zod';

const [address, model] = process.argv.slice(2);
if (!address || !model) throw new Error('usage: node agents.mjs http://127.0.0.1:8080 MODEL');
// Traces would go to OpenAI.
setTracingDisabled(true);

for (const useResponses of [true, false]) {
  const workflow = `agents-${useResponses ? 'responses' : 'chat'}-${process.pid}`;
  const requestIds = [];
  const openAIClient = new OpenAI({
    baseURL: `${address}/v1`,
    apiKey: 'none',
    defaultHeaders: { 'x-maestro-workflow': workflow, 'x-maestro-role': 'agent' },
    fetch: async (...args) => {
      const answer = await fetch(...args);
      if (answer.ok) assert.equal(answer.headers.get('x-maestro-workflow'), workflow);
      requestIds.push(answer.headers.get('x-request-id'));
      return answer;
    },
  });
  const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient, useResponses }), model });
  let looked = 0;
  const look = tool({
    name: 'look',
    description: 'Looks something up.',
    parameters: z.object({ q: z.string() }),
    execute: async () => {
      looked += 1;
      return 'It rains.';
    },
  });
  const settings = { toolChoice: 'required' };
  const worker = new Agent({
    name: 'Worker',
    instructions: 'You look things up.',
    tools: [look],
    modelSettings: settings,
  });

  const whole = await runner.run(worker, 'What is the weather?');
  assert.ok(whole.finalOutput, 'no final output');
  assert.ok(looked > 0, 'the tool was not called');
  assert.ok(
    whole.rawResponses.every(({ usage }) => usage.outputTokens > 0),
    'an answer without usage',
  );

  // In streams of the Responses API the SDK (0.20) takes no list among the details of the usage, and vLLM sends two.
  if (!useResponses) {
    const streamed = await runner.run(worker, 'What is the weather?', { stream: true });
    let deltas = 0;
    for await (const event of streamed) if (event.data?.type === 'output_text_delta') deltas += 1;
    await streamed.completed;
    assert.ok(deltas > 0, 'a stream without text');
  }

  // With no tools at all the SDK sends an empty list of them, which vLLM refuses; so the second agent has one as well.
  const back = new Agent({ name: 'Back', instructions: 'You answer.', tools: [look] });
  const front = new Agent({
    name: 'Front',
    instructions: 'You hand over.',
    handoffs: [handoff(back)],
    modelSettings: settings,
  });
  const handed = await runner.run(front, 'Hello');
  assert.equal(handed.lastAgent.name, 'Back');

  await assert.rejects(runner.run(new Agent({ name: 'Lost', model: 'no-such-model', tools: [look] }), 'Hello'), /404/);

  const record = await (await fetch(`${address}/v1/maestro/requests/${requestIds[0]}`)).json();
  assert.equal(record.outcome.kind, 'completed');
  console.log(
    `${useResponses ? 'Responses API' : 'chat completions'}: ok, ${requestIds.length} requests in workflow ${workflow}`,
  );
}
