/** Keys with limits of requests and tokens a minute: what their clients are told, in each API, and what changes while the gateway serves. */
import { request } from 'undici';
import { afterEach, expect, it } from 'vitest';
import { type ApiKey, DEFAULT_GATEWAY_CONFIG } from '../../src/gateway/index.js';
import { ManualClock } from '../../src/model/clock.js';
import { MaestroError } from '../../src/model/error.js';
import {
  beginStream,
  chatBody,
  closeRig,
  contentFrame,
  type Rig,
  sendCompletion,
  startRig,
  until,
} from './gateway-fixture.js';

let rig: Rig;
let clock: ManualClock;
afterEach(() => closeRig(rig));

const KEY: ApiKey = { key: 'key-of-a', tenant: 'a' };

async function start(...keys: ApiKey[]): Promise<void> {
  clock = new ManualClock();
  rig = await startRig({ config: { keys }, wallClock: clock });
  rig.script = ({ res }) => sendCompletion(res);
}

async function ask(key = KEY.key, body: string = chatBody(), path = '/v1/chat/completions') {
  const answer = await request(rig.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body,
  });
  const text = await answer.body.text();
  const left = (limit: string) => answer.headers[`x-ratelimit-remaining-${limit}`];
  return { status: answer.statusCode, headers: answer.headers, text, left };
}

const limited = async () => await rig.metrics.registry.getSingleMetricAsString('maestro_rate_limited_total');

it('tells what is left, and refuses in the shape of the API with the time that it takes', async () => {
  await start({ ...KEY, requestsPerMinute: 2, tokensPerMinute: 1_000 });
  const first = await ask();
  expect(first.status).toBe(200);
  expect(first.headers).toMatchObject({
    'x-ratelimit-limit-requests': '2',
    'x-ratelimit-remaining-requests': '1',
    'x-ratelimit-reset-requests': '30s',
    'x-ratelimit-limit-tokens': '1000',
    'x-ratelimit-reset-tokens': expect.stringMatching(/^\d+ms$/),
  });
  expect((await ask()).left('requests')).toBe('0');
  const refused = await ask();
  expect(refused.status).toBe(429);
  expect(JSON.parse(refused.text)).toMatchObject({
    error: {
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      message: expect.stringContaining('Please try again in'),
    },
  });
  expect(refused.headers).toMatchObject({ 'retry-after': '30', 'x-maestro-reason': 'requests-per-minute' });
  expect(refused.left('requests')).toBe('0');
  const other = await ask(KEY.key, JSON.stringify({ model: 'tiny', max_tokens: 5, messages: [] }), '/v1/messages');
  expect(JSON.parse(other.text)).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
  expect(rig.received).toHaveLength(2);
  clock.advance(30_000);
  expect([(await ask()).status, (await ask()).status]).toEqual([200, 429]);
  expect(await limited()).toMatch(/\{limit="requests"\} 3$/);
});

it('counts the tokens that the engine reports, and those of a prompt before it is queued', async () => {
  await start({ ...KEY, tokensPerMinute: 1_000 });
  const estimate = 1_000 - Number((await ask()).left('tokens'));
  expect(estimate).toBeLessThan(15);
  await until(() => rig.gateway.openRequests === 0);
  // The engine has told 19 and 6 of the first.
  expect((await ask()).left('tokens')).toBe(String(1_000 - 25 - estimate));
  rig.scheduling.onSubmit = () => {};
  const large = chatBody({ messages: [{ role: 'user', content: 'x '.repeat(1_800) }] });
  const waiting = ask(KEY.key, large);
  await until(() => rig.scheduling.submitted.length === 3);
  const refused = await ask(KEY.key, large);
  expect([refused.status, refused.headers['x-maestro-reason']]).toEqual([429, 'tokens-per-minute']);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(30);
  rig.scheduling.onSubmit = undefined;
  rig.scheduling.start(rig.scheduling.submitted[2]!);
  expect((await waiting).status).toBe(200);
  // It had been taken for more than it was.
  await until(() => rig.gateway.openRequests === 0);
  expect((await ask(KEY.key, large)).status).toBe(200);
});

it('counts what a client has been given of a stream that it leaves', async () => {
  await start({ ...KEY, tokensPerMinute: 1_000 });
  rig.script = ({ res }) => {
    beginStream(res);
    res.write(Array.from({ length: 300 }, () => contentFrame('a')).join(''));
  };
  const abort = new AbortController();
  const answer = await request(`${rig.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY.key}` },
    body: chatBody({ stream: true }),
    signal: abort.signal,
  });
  expect(answer.headers['x-ratelimit-limit-tokens']).toBe('1000');
  answer.body.on('error', () => {});
  let events = 0;
  answer.body.on('data', (piece) => {
    events += String(piece).split('data: ').length - 1;
    if (events === 300) abort.abort();
  });
  await until(() => rig.gateway.openRequests === 0);
  rig.script = ({ res }) => sendCompletion(res);
  const left = Number((await ask()).left('tokens'));
  expect(left).toBeGreaterThan(670);
  expect(left).toBeLessThan(700);
});

it('is one limit for all keys of a tenant, none for others, and changes while it serves', async () => {
  const [old, young] = [
    { ...KEY, requestsPerMinute: 2 },
    { ...KEY, key: 'another-of-a', requestsPerMinute: 2 },
  ];
  const other = { key: 'key-of-b', tenant: 'b' };
  await start(old, young, other);
  const statuses = async (...keys: ApiKey[]) => {
    const all: number[] = [];
    for (const { key } of keys) all.push((await ask(key)).status);
    return all;
  };
  expect(await statuses(old, young, old, young, other, other, other)).toEqual([200, 200, 429, 429, 200, 200, 200]);
  expect(Object.keys((await ask(other.key)).headers).filter((name) => name.startsWith('x-ratelimit'))).toEqual([]);
  rig.gateway.reconfigure({ ...DEFAULT_GATEWAY_CONFIG, keys: [{ ...young, requestsPerMinute: 3 }] });
  expect(await statuses(young, young)).toEqual([200, 429]);
  rig.gateway.reconfigure({ ...DEFAULT_GATEWAY_CONFIG, keys: [other] });
  rig.gateway.reconfigure({ ...DEFAULT_GATEWAY_CONFIG, keys: [young] });
  expect(await statuses(young, young, young)).toEqual([200, 200, 429]);
});

it('tells with a refusal what is left after it', async () => {
  await start({ ...KEY, tokensPerMinute: 1_000 });
  rig.script = ({ res }) => {
    res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}');
  };
  const large = chatBody({ messages: [{ role: 'user', content: 'x '.repeat(900) }] });
  const refused = await ask(KEY.key, large);
  expect([refused.status, refused.left('tokens')]).toEqual([400, '1000']);
  rig.scheduling.onSubmit = (stage) => stage.listener.onReject(new MaestroError('queue_full', 'Full.'));
  const full = await ask(KEY.key, large);
  expect([full.status, full.left('tokens')]).toEqual([429, '1000']);
  rig.scheduling.onSubmit = undefined;
  rig.script = ({ res }) => sendCompletion(res);
  expect(Number((await ask(KEY.key, large)).left('tokens'))).toBeLessThan(900);
});

it('does not count what is refused because too many are open, and tells what is left', async () => {
  await start({ ...KEY, requestsPerMinute: 5, maxOpenRequests: 1 });
  rig.scheduling.onSubmit = () => {};
  const open = ask();
  await until(() => rig.scheduling.submitted.length === 1);
  for (let count = 0; count < 2; count++) {
    const refused = await ask();
    expect([refused.status, refused.headers['x-maestro-reason']]).toEqual([429, 'too-many-of-tenant']);
    expect(refused.left('requests')).toBe('4');
  }
  rig.scheduling.start(rig.scheduling.submitted[0]!);
  expect((await open).status).toBe(200);
});
