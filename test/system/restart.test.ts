/**
 * An agent that starts its engines (emulated, processes of their own), dies, drains and comes back. Gateway and levels are one process with it, so what its death cuts is told
 * here too: a stream of a dead agent cannot go on, but its engine serves on, and nothing of it is left in the engine's hands.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { request } from 'undici';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { AgentProcess, alive, ENGINES, type EngineId, until } from './agent-process.js';
import { EMULATED_VLLM } from './built.js';

const LIMIT_MS = 120_000;
vi.setConfig({ testTimeout: 300_000, hookTimeout: 180_000 });

/** On one H100 that cannot have both awake. */
const MODELS: Readonly<Record<EngineId, string>> = { a: 'qwen3-32b', b: 'qwen3-30b-a3b' };

let agent: AgentProcess;

beforeAll(async () => {
  agent = new AgentProcess((folder, urls) => ({
    fleet: {
      nodes: [
        {
          ...{ id: 'n', gpus: ['h100-sxm'], hostMemory: '256GiB' },
          engines: ENGINES.map((id) => ({
            ...{ id, model: MODELS[id], gpus: [0], kvMemory: '8GiB', maxModelLen: 16_384, url: urls[id] },
            launch: {
              program: EMULATED_VLLM,
              weights: MODELS[id],
            },
          })),
        },
      ],
    },
    scheduling: { prefetch: false },
    observe: { decisionLog: join(folder, 'decisions.jsonl') },
  }));
  await agent.start();
  await agent.allUp(LIMIT_MS);
});
afterAll(() => agent.dispose());

const chat = (engine: EngineId, more: object) =>
  request(`${agent.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODELS[engine], messages: [{ role: 'user', content: 'hello' }], ...more }),
  });

async function serves(engine: EngineId): Promise<void> {
  const { statusCode, body } = await chat(engine, { max_tokens: 4 });
  expect([statusCode, await body.text()]).toEqual([200, expect.stringContaining('"usage"')]);
}

/**
 * Opens streams at once and waits for the first bytes of each; `ends` resolves with their texts, as far as they came. Three thousand tokens take ten seconds.
 */
async function openStreams(engine: EngineId, count: number, tokens: number) {
  const open = async () => {
    const { body } = await chat(engine, { max_tokens: tokens, ignore_eos: true, stream: true });
    const text = { value: '' };
    const read = async () => {
      try {
        for await (const chunk of body) text.value += String(chunk);
      } catch {
        // Cut: what came until then is what counts.
      }
      return text.value;
    };
    const end = read();
    await until('the stream flows', LIMIT_MS, () => text.value.includes('"content"'));
    return { end };
  };
  const streams = await Promise.all(Array.from({ length: count }, open));
  return { ends: Promise.all(streams.map(({ end }) => end)) };
}

async function openIn(engine: EngineId): Promise<number> {
  const page = await (await request(`${agent.url(engine)}/metrics`)).body.text();
  return [...page.matchAll(/^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

const pids = () => ENGINES.map((engine) => agent.pid(engine)!);

it('starts more engines than fit awake: the next starts when the one before has gone to sleep, and each wakes when it is asked', async () => {
  // Up means awake or asleep, and the first sleep of the second may just be running.
  await until('b is awake', LIMIT_MS, async () => (await agent.state('b')) === 'running');
  expect(await agent.state('a')).toBe('sleeping');
  await serves('a');
  expect(await agent.state('a')).toBe('running');
  await until('b sleeps', LIMIT_MS, async () => (await agent.state('b')) === 'sleeping');
  await serves('b');
});

it('killed in the middle of streams: they are cut and never look whole; the engines serve on, empty, and the next agent takes them over with what they are', async () => {
  const before = pids();
  const { ends } = await openStreams('b', 3, 10_000);
  await until('three streams run', LIMIT_MS, async () => (await openIn('b')) === 3);
  await agent.endAgent('SIGKILL');
  for (const text of await ends) {
    expect(text).toContain('"content"');
    expect(text).not.toContain('[DONE]');
  }
  expect(before.every(alive)).toBe(true);
  await until('the engine has let go of them', LIMIT_MS, async () => (await openIn('b')) === 0);
  await agent.start();
  await agent.allUp(LIMIT_MS);
  expect(pids()).toEqual(before);
  // The ledger is what the engines say: one asleep, one awake, nothing promised.
  const { engines, gpus } = await agent.fleet();
  expect(engines.map(({ state, leases }) => [state, leases])).toEqual([
    ['sleeping', 0],
    ['running', 0],
  ]);
  expect(gpus[0]!.usedBytes).toBeLessThanOrEqual(gpus[0]!.totalBytes);
  await serves('b');
  await serves('a');
  expect(pids()).toEqual(before);
});

it('told to end in the middle of streams: it finishes them first, leaves the engines, and each request stands once in the log', async () => {
  const before = pids();
  const { ends } = await openStreams('b', 3, 3_000);
  await until('three streams run', LIMIT_MS, async () => (await openIn('b')) === 3);
  await agent.endAgent('SIGTERM');
  for (const text of await ends) expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(before.every(alive)).toBe(true);
  await agent.start();
  await agent.allUp(LIMIT_MS);
  await serves('b');
  expect(pids()).toEqual(before);
  await agent.endAgent('SIGTERM');
  const records = readFileSync(join(agent.folder, 'decisions.jsonl'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { stage: { stageId: string }; outcome: { kind: string } });
  expect(new Set(records.map(({ stage }) => stage.stageId)).size).toBe(records.length);
  expect(new Set(records.map(({ outcome }) => outcome.kind))).toEqual(new Set(['completed']));
  // Two swaps, one answer after each of two starts and one more, three streams; those of the agent that was killed are missing.
  expect(records.length).toBe(8);
  await agent.start();
  await agent.allUp(LIMIT_MS);
});

it('away while an engine dies: the next agent sweeps what is left of it and starts it anew', async () => {
  const [a, b] = pids();
  await agent.endAgent('SIGKILL');
  process.kill(b!, 'SIGKILL');
  await agent.start();
  await agent.allUp(LIMIT_MS);
  expect(agent.pid('a')).toBe(a);
  expect(agent.pid('b')).not.toBe(b);
  await serves('b');
});
