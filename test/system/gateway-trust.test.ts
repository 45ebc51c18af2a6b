/** What callers may not decide: where a request goes, whose it is, and how much this process remembers of them. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { chatBody, postChat, type Rig, rawChat, startRig, until } from './gateway-fixture.js';

let rig: Rig;
afterEach(() => rig.close());

it('no field, header or path makes the gateway call another server', async () => {
  rig = await startRig();
  let hits = 0;
  const canary = createServer((_req, res) => {
    hits++;
    res.end();
  });
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(canary.address() as AddressInfo).port}`;
  const names = 'api_base base_url api_url url endpoint proxy model_list deployment custom_llm_provider'.split(' ');
  const fields = { ...Object.fromEntries(names.map((name) => [name, url])), extra_body: { api_base: url } };
  const headers = 'x-forwarded-host x-original-url x-rewrite-url forwarded x-gateway-destination-endpoint'.split(' ');
  const more = ['x-prefiller-host-port', 'x-data-parallel-host-port', 'x-vllm-priority', 'x-data-parallel-rank'];
  const named = Object.fromEntries([...headers, ...more].map((name) => [name, url]));
  const answer = await postChat(rig, chatBody(fields), named);
  expect(answer.status).toBe(200);
  for (const [name] of Object.entries(named)) expect(rig.received[0]!.req.headers, name).not.toHaveProperty(name);
  expect((await postChat(rig, chatBody({ model: url }))).status).toBe(404);
  const socket = rig.rawRequest(
    rawChat(chatBody()).replace('POST /v1', `POST ${url}/v1`).replace('Host: x', `Host: a/?${url}`),
  );
  let text = '';
  socket.on('data', (piece) => {
    text += String(piece);
  });
  await until(() => text.includes('\r\n\r\n'));
  expect(text).toMatch(/^HTTP\/1\.1 404 /);
  socket.destroy();
  expect(hits).toBe(0);
  canary.close();
});

it('tenants share no cached prompts where that is asked for, whatever they send as their salt', async () => {
  const keys = ['a', 'b'].map((tenant) => ({ key: `key-of-${tenant}`, tenant }));
  rig = await startRig({ config: { keys, isolateTenants: true } });
  const salt = async (tenant: string, fields: Record<string, unknown> = {}) => {
    const answer = await postChat(rig, chatBody(fields), { authorization: `Bearer key-of-${tenant}` });
    expect(answer.status).toBe(200);
    await answer.text();
    return (JSON.parse(rig.received.at(-1)!.body) as { cache_salt?: unknown }).cache_salt;
  };
  const [a, b] = [await salt('a'), await salt('b')];
  expect(a).toMatch(/^[\w-]{43}$/);
  expect(b).not.toBe(a);
  expect(await salt('a', { messages: [{ role: 'user', content: 'another' }] })).toBe(a);
  // A client may part its own prompts further, and reaches nobody else's by that.
  const mine = await salt('b', { cache_salt: a });
  expect([a, b]).not.toContain(mine);
  expect(await salt('a', { cache_salt: a })).not.toBe(mine);
  expect(await salt('b', { cache_salt: a })).toBe(mine);
});

describe('a key', () => {
  const KEY = 'sk-long-enough';
  const BAD = [
    "' OR 1=1 --",
    `${KEY}'`,
    KEY.slice(0, -1),
    KEY.toUpperCase(),
    `${KEY}${KEY}`,
    'x'.repeat(10_000),
    '%00',
    'ключ',
    '__proto__',
  ];
  it.each(BAD)('that is not one is refused: %s', async (given) => {
    rig = await startRig({ config: { keys: [{ key: KEY, tenant: 'a' }] } });
    const header = Buffer.from(given).toString('latin1');
    for (const headers of [{ authorization: `Bearer ${header}` }, { 'x-api-key': header }]) {
      expect((await postChat(rig, chatBody(), headers)).status).toBe(401);
    }
    expect(rig.received).toHaveLength(0);
    expect((await postChat(rig, chatBody(), { authorization: `Bearer ${KEY}` })).status).toBe(200);
  });
});

it('what callers invent (paths, models, tenants, workflows, classes, request ids) adds no series to the metrics', async () => {
  rig = await startRig();
  const series = async () => {
    const text = await (await fetch(`${rig.url}/metrics`)).text();
    return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  };
  const round = async (name: string) => {
    const headers = {
      'x-maestro-tenant': name,
      'x-maestro-workflow': name,
      'x-maestro-class': name,
      'x-maestro-role': name,
      'x-maestro-template': name,
      'x-request-id': name,
    };
    await postChat(rig, chatBody({ user: name }), headers);
    await postChat(rig, chatBody({ model: name }), headers);
    await fetch(`${rig.url}/${name}`);
    await fetch(`${rig.url}/w/${name}/v1/models/${name}`);
  };
  await round('first');
  const before = await series();
  for (let index = 0; index < 100; index++) await round(`invented-${index}`);
  expect(await series()).toBe(before);
});

describe('an address', () => {
  it('has no more connections than the cap; further ones are told so, and may come when others have gone', async () => {
    rig = await startRig({ config: { maxConnectionsPerAddress: 2 } });
    rig.script = () => {};
    const held = [rig.rawRequest(rawChat(chatBody())), rig.rawRequest(rawChat(chatBody()))];
    await until(() => rig.received.length === 2);
    let refusal = '';
    // Larger than what a socket takes at once: it still sends when it is refused.
    const refused = rig.rawRequest(rawChat(chatBody({ messages: [{ role: 'user', content: 'x'.repeat(2 ** 22) }] })));
    let reset: Error | undefined;
    refused.on('error', (error) => {
      reset = error;
    });
    refused.on('data', (piece) => {
      refusal += String(piece);
    });
    await until(() => refused.destroyed);
    expect(refusal).toMatch(/^HTTP\/1\.1 429 /);
    expect(refusal).toContain('too_many_connections');
    expect(reset).toBeUndefined();
    expect(rig.gateway.openRequests).toBe(2);
    expect(rig.received).toHaveLength(2);
    for (const socket of held) socket.destroy();
    await until(() => rig.gateway.openRequests === 0);
    rig.rawRequest(rawChat(chatBody()));
    await until(() => rig.received.length === 3);
  });
});

it('requests of another tenant, for another model or adapter, or with other tools share no prefix', async () => {
  const keys = ['a', 'b'].map((tenant) => ({ key: `sk-long-enough-${tenant}`, tenant }));
  rig = await startRig({ config: { keys } });
  rig.scheduling.resolveModel = (name) => ({
    ...{ ...rig.scheduling.models()[0]!, name },
    ...(name === 'planner' ? { base: 'tiny' } : {}),
  });
  const messages = [{ role: 'user', content: 'water '.repeat(400) }];
  const tool = (name: string) => [{ type: 'function', function: { name } }];
  const requests = [
    ['a', {}],
    ['b', {}],
    ['a', { model: 'gpt-4o' }],
    ['a', { model: 'planner' }],
    ['a', { tools: tool('search') }],
    ['a', { tools: tool('delete') }],
    ['a', {}],
  ] as const;
  for (const [tenant, fields] of requests) {
    const answer = await postChat(rig, chatBody({ messages, ...fields }), { 'x-api-key': `sk-long-enough-${tenant}` });
    expect(answer.status).toBe(200);
  }
  const hashes = rig.scheduling.submitted.map(({ stage }) => stage.prefixHashes);
  expect(hashes[0]!.length).toBeGreaterThan(0);
  expect(hashes.pop()).toEqual(hashes[0]);
  expect(new Set(hashes.flat()).size).toBe(hashes.length * hashes[0]!.length);
});

it('requests with another cache_salt share no prefix, as in the engines', async () => {
  rig = await startRig();
  const messages = [{ role: 'user', content: 'water '.repeat(400) }];
  for (const salt of [undefined, 'a', 'b', 'a']) {
    await postChat(rig, chatBody({ messages, ...(salt === undefined ? {} : { cache_salt: salt }) }));
  }
  const [none, a, b, again] = rig.scheduling.submitted.map(({ stage }) => stage.prefixHashes);
  expect(none!.length).toBeGreaterThan(0);
  expect(again).toEqual(a);
  for (const other of [none, b]) expect(other!.filter((hash) => a!.includes(hash))).toEqual([]);
});

it('headers beyond the thousandth, where Node would leave them out, are read like the first', async () => {
  rig = await startRig();
  const others = Object.fromEntries(Array.from({ length: 1_500 }, (_, index) => [`a${index.toString(36)}`, 'x']));
  const answer = await postChat(rig, chatBody(), {
    ...others,
    'x-maestro-workflow': 'mine',
    'x-maestro-class': 'batch',
  });
  expect(answer.headers.get('x-maestro-workflow')).toBe('mine');
  expect(rig.scheduling.submitted[0]!.stage).toMatchObject({ workflowId: 'mine', sloClass: 'batch' });
});

it.each([
  ['POST', '/v1/messages/nothing', 404, 'not_found_error'],
  ['GET', '/v1/messages', 405, 'invalid_request_error'],
  ['GET', '/w/mine/v1/messages', 405, 'invalid_request_error'],
])('%s %s is refused in the shape of its API', async (method, path, status, type) => {
  rig = await startRig();
  const answer = await fetch(`${rig.url}${path}`, { method });
  expect(answer.status).toBe(status);
  expect(await answer.json()).toMatchObject({ type: 'error', error: { type } });
});
