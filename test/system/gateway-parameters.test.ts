/** What requests may ask of a model: the rules of the config on the wire, and in what is reserved. */
import { afterEach, describe, expect, it } from 'vitest';
import { serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { chatBody, postChat, type Rig, startRig } from './gateway-fixture.js';

let rig: Rig;

afterEach(() => rig.close());

const PARAMETERS = {
  '*': { refuse: ['logprobs'], drop: ['user'] },
  tiny: { caps: { max_tokens: 5, n: 2 }, defaults: { temperature: 0.2 } },
};

describe('parameter rules of the model', () => {
  it('change the body that the engine gets and what is reserved, and the answer says so', async () => {
    rig = await startRig({ config: { parameters: PARAMETERS } });
    const answer = await postChat(rig, chatBody({ model: 'gpt-4o', user: 'u', n: 3, seed: 1 }));
    expect(answer.headers.get('x-maestro-parameters')).toBe(
      'max_tokens=capped, user=dropped, n=capped, temperature=default',
    );
    // Names, order and spacing of the rest are the client's; only then come alias and priority.
    expect(rig.received[0]!.body).toBe(
      '{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":5,"n":2,"seed":1,"temperature":0.2,"priority":7}',
    );
    expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ maxTokens: 5, choices: 2, outputLimited: true });
    expect(rig.scheduling.submitted[0]!.stage.features.temperature).toBe(0.2);
  });

  it('hold for its adapters, whose own come before', async () => {
    rig = await startRig({ config: { parameters: { ...PARAMETERS, planner: { caps: { n: 1 } } } } });
    const [model] = rig.scheduling.models();
    rig.scheduling.models = () => [model!, { ...model!, name: 'planner', aliases: [], base: 'tiny' }];
    const answer = await postChat(rig, chatBody({ model: 'planner', user: 'u', n: 3, temperature: 1 }));
    expect(answer.headers.get('x-maestro-parameters')).toBe('max_tokens=capped, user=dropped, n=capped');
    expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ model: 'tiny', adapter: 'planner', maxTokens: 5 });
    expect(rig.scheduling.submitted[0]!.stage.choices).toBeUndefined();
  });

  it('say nothing where nothing is changed', async () => {
    rig = await startRig({ config: { parameters: PARAMETERS } });
    const answer = await postChat(rig, chatBody({ max_tokens: 4, temperature: 1 }));
    expect(answer.headers.get('x-maestro-parameters')).toBeNull();
  });

  it.each(['/v1/chat/completions', '/v1/messages'])('refuse on %s before anything is queued', async (path) => {
    rig = await startRig({ config: { parameters: PARAMETERS } });
    const answer = await fetch(rig.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody({ logprobs: true }),
    });
    expect([answer.status, answer.headers.get('x-maestro-reason')]).toEqual([400, 'parameter-rule']);
    expect(await answer.json()).toMatchObject({
      error: {
        type: 'invalid_request_error',
        message: 'The field "logprobs" is not allowed for tiny here (parameters.*.refuse).',
      },
    });
    expect(rig.scheduling.submitted).toHaveLength(0);
  });
});

it('come from the fleet file', { timeout: 20_000 }, async () => {
  rig = await startRig();
  const served = await serve({
    config: parseConfig(
      `
observe: { logLevel: silent }
parameters:
  llama-3.1-8b: { caps: { max_tokens: 3 }, refuse: [prompt_logprobs], fixed: { ignore_eos: true } }
fleet:
  timeScale: 20
  nodes:
    - { id: n, gpus: [h100-sxm], hostMemory: 64GiB, engines: [{ id: e, model: llama-3.1-8b, gpus: [0] }] }
`,
      'test',
    ),
    port: 0,
  });
  const post = (path: string, body: object) =>
    fetch(served.address + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'llama-3.1-8b', ...body }),
    });
  const messages = [{ role: 'user', content: 'hello' }];
  try {
    for (const [path, body, limit] of [
      ['/v1/chat/completions', { messages }, 'max_completion_tokens=capped'],
      ['/v1/completions', { prompt: 'hello', max_tokens: 900 }, 'max_tokens=capped'],
      ['/v1/responses', { input: 'hello' }, 'max_output_tokens=capped'],
      ['/v1/messages', { messages, max_tokens: 900 }, 'max_tokens=capped'],
    ] as const) {
      const answer = await post(path, body);
      const { usage } = (await answer.json()) as { usage: { completion_tokens?: number; output_tokens?: number } };
      expect([path, usage.completion_tokens ?? usage.output_tokens]).toEqual([path, 3]);
      expect(answer.headers.get('x-maestro-parameters')).toContain(limit);
    }
    expect((await post('/v1/chat/completions', { messages, prompt_logprobs: 1 })).status).toBe(400);
  } finally {
    await served.stop(0);
  }
});
