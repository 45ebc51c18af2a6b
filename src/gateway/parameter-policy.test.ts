import { describe, expect, it } from 'vitest';
import type { ParameterRules } from './config.js';
import { scanBody } from './json-scan.js';
import { ParameterPolicies } from './parameter-policy.js';
import { type InferenceRoute, matchRoute } from './routes.js';

function routeOf(path: string): InferenceRoute {
  const match = matchRoute('POST', path);
  if (match.kind !== 'route' || match.route.kind !== 'inference') throw new Error(path);
  return match.route;
}

const CHAT = '/v1/chat/completions';

/** The body after the rules, and what is said of it; undefined where they leave it alone. */
function govern(
  rules: Record<string, ParameterRules>,
  text: string,
  { path = CHAT, slack = 0, adapter }: { path?: string; slack?: number; adapter?: string } = {},
) {
  const room = Buffer.alloc(Buffer.byteLength(text) + slack);
  const body = room.subarray(0, room.write(text));
  const { closeOffset } = scanBody(body, 50);
  const governed = new ParameterPolicies(rules).of('m', adapter)?.apply(body, room, closeOffset, routeOf(path));
  if (!governed) return undefined;
  expect(governed.room.subarray(0, governed.body.length).equals(governed.body)).toBe(true);
  return { text: governed.body.toString(), changed: governed.changed };
}

const m = (rules: ParameterRules) => ({ m: rules });

describe('parameter rules', () => {
  it.each<[string, ParameterRules, string, string, string, string?]>([
    [
      'put in a default',
      { defaults: { temperature: 0.2 } },
      '{"a":1}',
      '{"a":1,"temperature":0.2}',
      'temperature=default',
    ],
    [
      'put a default for null',
      { defaults: { t: [1, 'ż'] } },
      '{"t": null, "a":1}',
      '{"t": [1,"ż"], "a":1}',
      't=default',
    ],
    ['lower what is above a cap', { caps: { n: 4 } }, '{"n": 5 }', '{"n": 4 }', 'n=capped'],
    ['lower a number that is text', { caps: { n: 4 } }, '{"n":"1_000"}', '{"n":4}', 'n=capped'],
    [
      'lower a decimal that is text',
      { caps: { temperature: 1 } },
      '{"temperature":"1.5"}',
      '{"temperature":1}',
      'temperature=capped',
    ],
    [
      'take -1 for all log-probabilities',
      { caps: { prompt_logprobs: 2 } },
      '{"prompt_logprobs":-1}',
      '{"prompt_logprobs":2}',
      'prompt_logprobs=capped',
    ],
    ['take 0 for all tokens', { caps: { top_k: 50 } }, '{"top_k":0}', '{"top_k":50}', 'top_k=capped'],
    ['fix a value', { fixed: { seed: 7 } }, '{"seed":1}', '{"seed":7}', 'seed=fixed'],
    ['fix a value that is not asked for', { fixed: { seed: 7 } }, '{"a":{}}', '{"a":{},"seed":7}', 'seed=fixed'],
    ['drop the first', { drop: ['a'] }, '{ "a":1, "b":2}', '{ "b":2}', 'a=dropped'],
    ['drop one in the middle', { drop: ['a'] }, '{"b":2 , "a":[1,{}] , "c":3}', '{"b":2 , "c":3}', 'a=dropped'],
    ['drop the last', { drop: ['a'] }, '{"b":2, "a":"}" }', '{"b":2 }', 'a=dropped'],
    [
      'drop all but one',
      { drop: ['a', 'b', 'd'] },
      '{"a":1,"b":2,"c":3,"d":4}',
      '{"c":3}',
      'a=dropped, b=dropped, d=dropped',
    ],
    [
      'drop all, and add',
      { drop: ['a', 'b'], fixed: { c: 1 } },
      '{"m":0,"a":1,"b":2}',
      '{"m":0,"c":1}',
      'a=dropped, b=dropped, c=fixed',
    ],
    ['see through escapes', { drop: ['user'] }, '{"x":1,"us\\u0065r":"u"}', '{"x":1}', 'user=dropped'],
    [
      'bound an answer without a limit',
      { caps: { max_tokens: 9 } },
      '{"a":1}',
      '{"a":1,"max_completion_tokens":9}',
      'max_completion_tokens=capped',
    ],
    [
      'bound every limit',
      { caps: { max_tokens: 9 } },
      '{"max_tokens":10,"max_completion_tokens":11}',
      '{"max_tokens":9,"max_completion_tokens":9}',
      'max_tokens=capped, max_completion_tokens=capped',
    ],
    [
      'bound a limit of null',
      { caps: { max_tokens: 9 } },
      '{"max_tokens":null}',
      '{"max_tokens":9}',
      'max_tokens=capped',
    ],
    [
      'know the name of the limit',
      { caps: { max_tokens: 9 } },
      '{"a":1}',
      '{"a":1,"max_output_tokens":9}',
      'max_output_tokens=capped',
      '/v1/responses',
    ],
    [
      'prefer the default to the cap',
      { defaults: { max_tokens: 5 }, caps: { max_tokens: 9 } },
      '{"a":1}',
      '{"a":1,"max_tokens":5}',
      'max_tokens=default',
      '/v1/messages',
    ],
  ])('%s', (_name, rules, before, after, changed, path = CHAT) => {
    for (const slack of [0, 100]) expect(govern(m(rules), before, { path, slack })).toEqual({ text: after, changed });
  });

  it.each<[string, ParameterRules, string, string?]>([
    ['is within the caps', { caps: { n: 4, temperature: 1 } }, '{"n":4,"temperature":0.5}'],
    ['has its own value where there is a default', { defaults: { temperature: 0.2 } }, '{"temperature":1}'],
    ['has the fixed value', { fixed: { seed: 7 } }, '{"seed":7}'],
    ['has no refused field', { refuse: ['logprobs'] }, '{"a":{"logprobs":1}}'],
    ['has a refused field of null', { refuse: ['logprobs'] }, '{"logprobs":null}'],
    ['has a default limit below the cap', { caps: { max_tokens: 20 } }, '{"prompt":"x"}', '/v1/completions'],
    ['generates nothing', { defaults: { temperature: 1 }, caps: { max_tokens: 2 } }, '{"input":"x"}', '/v1/embeddings'],
  ])('leave a body alone that %s', (_name, rules, body, path = CHAT) => {
    expect(govern(m(rules), body, { path })).toBeUndefined();
  });

  it.each<[string, ParameterRules, string, object]>([
    [
      'refused',
      { refuse: ['logprobs'] },
      '{"logprobs":false}',
      { param: 'logprobs', message: 'The field "logprobs" is not allowed for m here (parameters.m.refuse).' },
    ],
    [
      'bounded and no number',
      { caps: { n: 4 } },
      '{"n":[9]}',
      { param: 'n', message: 'The field "n" must be a number of at most 4 for m here (parameters.m.caps).' },
    ],
    [
      'given twice',
      { drop: ['seed'] },
      '{"seed":1,"s\\u0065ed":2}',
      { param: 'seed', message: 'The field "seed" is given twice.' },
    ],
  ])('answer 400 to a field that is %s', (_name, rules, body, error) => {
    const expected = { code: 'invalid_request', httpStatus: 400, reason: 'parameter-rule', ...error };
    expect(() => govern(m(rules), body)).toThrow(expect.objectContaining(expected));
  });

  it('of all models hold where those of the model say nothing of a field', () => {
    const rules = { '*': { drop: ['user'], caps: { n: 2, temperature: 1 } }, m: { caps: { n: 8 } } };
    expect(govern(rules, '{"user":"u","n":4,"temperature":2}')).toEqual({
      text: '{"n":4,"temperature":1}',
      changed: 'user=dropped, temperature=capped',
    });
    expect(new ParameterPolicies({ other: { drop: ['user'] } }).of('m')).toBeUndefined();
  });

  it('of a model hold for its adapters where those of the adapter say nothing of a field', () => {
    const rules = { '*': { drop: ['user'] }, m: { caps: { n: 2, temperature: 1 } }, planner: { caps: { n: 4 } } };
    const text = '{"user":"u","n":8,"temperature":2}';
    const lowered = (n: number) => ({
      text: `{"n":${n},"temperature":1}`,
      changed: 'user=dropped, n=capped, temperature=capped',
    });
    expect(govern(rules, text, { adapter: 'planner' })).toEqual(lowered(4));
    expect(govern(rules, text, { adapter: 'critic' })).toEqual(lowered(2));
    expect(govern(rules, text)).toEqual(lowered(2));
  });
});
