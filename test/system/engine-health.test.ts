/** When an engine is taken out, and when not: answers that fail, clients that are wrong, all engines a little broken, one that comes and goes. */
import { request } from 'undici';
import { afterEach, expect, it, vi } from 'vitest';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { ScriptedEngine } from './scripted-engine.js';

const SOON = { timeout: 30_000, interval: 20 };

const engines: ScriptedEngine[] = [];
let served: Served;

afterEach(async () => {
  const { outcomes, engines: states } = served.scheduling.fleet();
  const ended = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
  expect(ended).toBe(sent);
  expect(states.map(({ leases }) => leases)).toEqual(states.map(() => 0));
  await served.stop(0);
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
});

async function start(count: number): Promise<ScriptedEngine[]> {
  for (let index = 0; index < count; index++) engines.push(new ScriptedEngine());
  const vllmUrls = await Promise.all(engines.map((engine) => engine.start()));
  served = await serve({ config: parseConfig('observe: {logLevel: silent}', 'test'), vllmUrls, port: 0 });
  await vi.waitFor(() => expect(states()).toEqual(engines.map(() => 'running')), SOON);
  sent = 0;
  return engines;
}

const states = () => served.scheduling.fleet().engines.map(({ state }) => state);
let sent = 0;

async function ask(): Promise<number> {
  sent += 1;
  const { statusCode, body } = await request(`${served.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 }),
  });
  await body.dump();
  return statusCode;
}

it('B5: an engine that says it is well while its model loads is taken out after a few failures, and serves once it generates', async () => {
  const [loading, ready] = await start(2);
  loading!.status = () => 503;
  const statuses: number[] = [];
  while (states()[0] === 'running') statuses.push(...(await Promise.all([ask(), ask(), ask(), ask()])));
  // What is not answered 200 was answered by the engine itself, once.
  expect(new Set(statuses)).toEqual(new Set([200, 503]));
  for (let count = 0; count < 10; count++) expect(await ask()).toBe(200);
  expect(ready!.requests).toBeGreaterThanOrEqual(10);
  loading!.status = () => 200;
  await vi.waitFor(() => expect(states()).toEqual(['running', 'running']), SOON);
  expect(await ask()).toBe(200);
});

it('B6: what clients do wrong never takes an engine out', async () => {
  const [engine] = await start(1);
  engine!.status = () => 400;
  for (let round = 0; round < 20; round++) {
    const statuses = await Promise.all(Array.from({ length: 50 }, ask));
    expect(new Set(statuses)).toEqual(new Set([400]));
    expect(states()).toEqual(['running']);
  }
  // Not one canary was needed.
  expect(engine!.requests).toBe(1_000);
  engine!.status = () => 200;
  expect(await ask()).toBe(200);
});

it('B9: when every engine fails a third of its requests, all of them stay', async () => {
  const all = await start(3);
  for (const engine of all) engine.status = (count) => (count % 3 === 0 ? 500 : 200);
  let answered = 0;
  for (let round = 0; round < 60; round++) {
    const statuses = await Promise.all(Array.from({ length: 6 }, ask));
    answered += statuses.filter((status) => status === 200).length;
    expect(states()).toEqual(['running', 'running', 'running']);
  }
  expect(answered).toBeGreaterThan(0.6 * 360);
  for (const engine of all) expect(engine.requests).toBeGreaterThan(0);
});

it('B9: when every engine fails everything, requests are refused at the door with a reason, and all comes back by itself', async () => {
  const all = await start(2);
  for (const engine of all) engine.status = () => 500;
  while (states().includes('running')) await ask();
  expect(await ask()).toBe(503);
  for (const engine of all) engine.status = () => 200;
  await vi.waitFor(() => expect(states()).toEqual(['running', 'running']), SOON);
  expect(await ask()).toBe(200);
});

it('B10: an engine that goes and comes back again and again loses no request, and is not flooded when it returns', async () => {
  const [flapping, steady] = await start(2);
  flapping!.delayMs = 20;
  steady!.delayMs = 20;
  const statuses: number[] = [];
  let going = true;
  const clients = Array.from({ length: 8 }, async () => {
    while (going) statuses.push(await ask());
  });
  for (let time = 0; time < 5; time++) {
    await flapping!.stop();
    await vi.waitFor(() => expect(states()[0]).toBe('down'), SOON);
    const before = steady!.requests;
    await vi.waitFor(() => expect(steady!.requests).toBeGreaterThan(before + 20), SOON);
    flapping!.mostOpen = 0;
    const back = flapping!.requests;
    await flapping!.start();
    await vi.waitFor(() => expect(flapping!.requests).toBeGreaterThan(back), SOON);
    // Never more at once than there are clients: nothing is sent twice, and no probe piles up.
    expect(flapping!.mostOpen).toBeLessThanOrEqual(8);
  }
  going = false;
  await Promise.all(clients);
  // A connection that is cut with a request on it is the only loss there may be.
  const lost = statuses.filter((status) => status !== 200);
  expect(lost.every((status) => status === 502)).toBe(true);
  expect(lost.length).toBeLessThanOrEqual(5 * 8);
  expect(statuses.length).toBeGreaterThan(100);
});
