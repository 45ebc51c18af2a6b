import { expect, it } from 'vitest';
import { ManualClock } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import type { ApiKey } from './config.js';
import { RateLimits, shortDuration } from './rate-limits.js';

function build() {
  const clock = new ManualClock();
  const refused: string[] = [];
  const rates = new RateLimits(clock, (limit) => refused.push(limit));
  const ask = (key: ApiKey, promptTokens = 0) => {
    const meter = rates.meter(key)!;
    meter.takeRequest();
    meter.takePrompt(promptTokens);
    return meter;
  };
  const refusal = (key: ApiKey, promptTokens = 0): MaestroError => {
    try {
      ask(key, promptTokens);
    } catch (error) {
      if (error instanceof MaestroError) return error;
    }
    throw new Error('it was let in');
  };
  const headers = (key: ApiKey) => {
    const list: string[] = [];
    rates.meter(key)!.addHeaders(list);
    return Object.fromEntries(
      list.flatMap((name, at) => (at % 2 === 0 ? [[name.replace('x-ratelimit-', ''), list[at + 1]]] : [])),
    );
  };
  return { clock, refused, rates, ask, refusal, headers };
}

const REQUESTS: ApiKey = { key: 'key-of-a', tenant: 'a', requestsPerMinute: 6 };
const TOKENS: ApiKey = { key: 'key-of-b', tenant: 'b', tokensPerMinute: 600 };

it('lets in as many requests as a minute has, then one by one as they come back', () => {
  const { clock, refused, ask, refusal, headers } = build();
  for (let count = 0; count < 6; count++) ask(REQUESTS);
  expect(headers(REQUESTS)).toEqual({ 'limit-requests': '6', 'remaining-requests': '0', 'reset-requests': '1m0s' });
  expect(refusal(REQUESTS)).toMatchObject({
    ...{ code: 'rate_limit_exceeded', reason: 'requests-per-minute', retryAfterMs: 10_000 },
    message: expect.stringMatching(/^Rate limit reached for tenant a on requests per minute.*try again in 10s\.$/),
  });
  clock.advance(9_999);
  expect(refusal(REQUESTS).retryAfterMs).toBeCloseTo(1);
  clock.advance(1);
  ask(REQUESTS);
  expect(refusal(REQUESTS).retryAfterMs).toBeCloseTo(10_000);
  expect(refused).toEqual(['requests', 'requests', 'requests']);
});

it('takes the tokens of a prompt at once and those of its answer when it has ended', () => {
  const { clock, ask, refusal, headers } = build();
  const meter = ask(TOKENS, 100);
  expect(headers(TOKENS)['remaining-tokens']).toBe('500');
  meter.settle(true, 'completed', { promptTokens: 120, outputTokens: 80 });
  expect(headers(TOKENS)).toEqual({ 'limit-tokens': '600', 'remaining-tokens': '400', 'reset-tokens': '20s' });
  ask(TOKENS, 300).settle(true, 'completed', { promptTokens: 300, outputTokens: 700 });
  // Overdrawn by 600: a minute until there is none, and what the next one needs.
  expect(headers(TOKENS)['remaining-tokens']).toBe('0');
  expect(refusal(TOKENS, 60)).toMatchObject({ reason: 'tokens-per-minute', retryAfterMs: 66_000 });
  clock.advance(66_000);
  ask(TOKENS, 60);
});

it('lets in a prompt that is larger than the limit when all of that is there', () => {
  const { clock, ask, refusal } = build();
  ask(TOKENS, 60);
  expect(refusal(TOKENS, 10_000).retryAfterMs).toBe(6_000);
  clock.advance(6_000);
  ask(TOKENS, 10_000);
});

it.each([
  ['was never sent', false, 'client_cancelled', {}, 600],
  ['was rejected by its engine', true, 'rejected', {}, 600],
  ['failed before an answer', true, 'engine_failed', {}, 600],
  ['failed in its answer', true, 'engine_failed', { outputTokens: 5 }, 495],
  ['was left by its client while an engine read it', true, 'client_cancelled', {}, 500],
  ['has told no usage', true, 'completed', {}, 500],
] as const)('of a request that %s takes what it has used', (_what, sent, kind, facts, left) => {
  const { ask, headers } = build();
  ask(TOKENS, 100).settle(sent, kind, facts);
  expect(headers(TOKENS)['remaining-tokens']).toBe(String(left));
});

it('counts the events of a stream that breaks off', () => {
  const { ask, headers } = build();
  const meter = ask(TOKENS, 100);
  for (const text of ['data: a\n\ndata: b\n\n', 'data: c\n\n']) meter.sawContent(Buffer.from(text));
  meter.settle(true, 'client_cancelled', {});
  expect(headers(TOKENS)['remaining-tokens']).toBe('497');
});

it('does not count a request whose tokens are refused', () => {
  const { ask, refusal, headers } = build();
  const both = { ...TOKENS, requestsPerMinute: 10 };
  ask(both, 600);
  expect(refusal(both, 1).reason).toBe('tokens-per-minute');
  expect(headers(both)['remaining-requests']).toBe('9');
});

it('is one for the keys of a tenant, follows their limits, and forgets tenants without a key', () => {
  const { rates, ask, refusal, headers } = build();
  for (let count = 0; count < 6; count++) ask(count % 2 === 0 ? REQUESTS : { ...REQUESTS, key: 'another-of-a' });
  expect(refusal({ ...REQUESTS, key: 'another-of-a' }).reason).toBe('requests-per-minute');
  ask({ ...REQUESTS, requestsPerMinute: 7 });
  rates.keep([TOKENS, REQUESTS]);
  expect(headers(REQUESTS)['remaining-requests']).toBe('0');
  rates.keep([TOKENS]);
  expect(headers(REQUESTS)['remaining-requests']).toBe('6');
});

it('meters nobody whose key bounds nothing', () => {
  const { rates } = build();
  expect(rates.meter(undefined)).toBeUndefined();
  expect(rates.meter({ key: 'key-of-c', tenant: 'c', maxOpenRequests: 1 })).toBeUndefined();
});

it.each([
  [0, '0s'],
  [0.2, '1ms'],
  [999.5, '1s'],
  [8_640, '8.64s'],
  [360_000, '6m0s'],
  [3_723_500, '62m3.5s'],
])('writes %d ms as %s', (ms, text) => {
  expect(shortDuration(ms)).toBe(text);
});
