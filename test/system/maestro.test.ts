/**
 * The whole house in one process in front of an emulated fleet of real processes: an OpenAI client's request goes through gateway,
 * global, cluster and node level to an engine and back. What must hold whatever happens is checked here, on the real parts.
 */
import OpenAI from 'openai';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';

/** Two GPUs. On GPU 0 the 32B and the 30B-A3B cannot be awake together; the 8B has a replica on either side of a failure. */
const FLEET = `
fleet:
  timeScale: 20
  nodes:
    - id: node-a
      gpus: { type: h100-sxm, count: 2 }
      hostMemory: 512GiB
      engines:
        - { id: big, model: qwen3-32b, gpus: [0], kvMemory: 8GiB, maxModelLen: 16384 }
        - { id: moe, model: qwen3-30b-a3b, gpus: [0], kvMemory: 8GiB, maxModelLen: 16384, startAsleep: true }
        - { id: small-1, model: llama-3.1-8b, gpus: [1], kvMemory: 8GiB, maxModelLen: 16384 }
        - { id: small-2, model: llama-3.1-8b, gpus: [1], kvMemory: 8GiB, maxModelLen: 16384 }
aliases: { gpt-4o-mini: llama-3.1-8b }
observe: { logLevel: silent }
`;

let served: Served;
let client: OpenAI;

beforeAll(async () => {
  served = await serve({ config: parseConfig(FLEET, 'fleet.yaml'), port: 0 });
  client = new OpenAI({ baseURL: `${served.address}/v1`, apiKey: 'any', maxRetries: 0 });
});

afterAll(async () => {
  await served?.stop(0);
});

function chat(model: string, outputTokens: number, workflow = 'w') {
  return {
    model,
    messages: [{ role: 'user' as const, content: `Answer for ${workflow}.` }],
    max_tokens: Math.max(4096, outputTokens),
    // The emulator's own field: how long the answer will be.
    vllm_xargs: { maestro_output_tokens: outputTokens },
  };
}

/** Sends a streamed chat on a plain connection and collects what comes, to the end of the body. */
async function rawStream(
  body: object,
  onData?: (textSoFar: string) => void,
): Promise<{ status: number; text: string }> {
  const answer = await request(`${served.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  });
  let text = '';
  for await (const chunk of answer.body) {
    text += String(chunk);
    onData?.(text);
  }
  return { status: answer.statusCode, text };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 4_000; attempt++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`never came true: ${what}`);
}

const engine = (engineId: string) => served.scheduling.fleet().engines.find((each) => each.engineId === engineId)!;

interface LedgerPage {
  requests: { id: string; startedMs?: number | null }[];
}

async function ledgerOf(engineId: string): Promise<LedgerPage> {
  const { url } = served.fleet!.engines.find((each) => each.engineId === engineId)!;
  return (await (await request(`${url}/_emulator/ledger`)).body.json()) as LedgerPage;
}

describe('a request on its way through all levels', () => {
  it('is answered, streamed or whole, under an alias too, and says what was done with it', async () => {
    const { data, response } = await client.chat.completions
      .create(chat('gpt-4o-mini', 12), { headers: { 'x-maestro-workflow': 'run-1', 'x-maestro-agent': 'planner' } })
      .withResponse();
    expect(data.usage?.completion_tokens).toBe(12);
    expect(response.headers.get('x-maestro-workflow')).toBe('run-1');
    expect(response.headers.get('x-maestro-node')).toBe('node-a');
    // With the ordering that serves at present.
    expect(response.headers.get('x-maestro-policy')).toMatch(/^maestro:/);

    const stream = await client.chat.completions.create({ ...chat('llama-3.1-8b', 12), stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    expect(text.length).toBeGreaterThan(0);

    const record = served.scheduling.explain(response.headers.get('x-request-id')!)!;
    expect(record).toMatchObject({
      identitySource: 'maestro-headers',
      stage: { role: 'planner', model: 'llama-3.1-8b' },
      outcome: { kind: 'completed', outputTokens: 12 },
    });
    expect(record.placement?.candidates.length).toBeGreaterThan(0);
  });

  it('reserves for every answer that a call asks for, and learns the length of one', async () => {
    const headers = { 'x-maestro-agent': 'sampler', 'x-maestro-template': 'n' };
    const send = async (n: number) => {
      const { data, response } = await client.chat.completions
        .create({ ...chat('llama-3.1-8b', 40), n }, { headers })
        .withResponse();
      return { data, record: served.scheduling.explain(response.headers.get('x-request-id')!)! };
    };
    for (let call = 0; call < 10; call++) expect((await send(8)).data.usage?.completion_tokens).toBe(320);
    const { record } = await send(8);
    expect(record.outcome?.outputTokens).toBe(320);
    // Quantiles are of a histogram with bins that widen.
    expect(record.prediction.outputTokens.q50).toBeLessThan(60);
    expect(record.prediction.kvTokens.bound).toBeGreaterThan(320);
  });

  it('counts a seat for every answer that a call asks for, until it ends', async () => {
    const seats = () => engine('small-1').leases + engine('small-2').leases;
    const left = new AbortController();
    const call = client.chat.completions.create({ ...chat('llama-3.1-8b', 4000), n: 5 }, { signal: left.signal });
    const ended = expect(call).rejects.toThrow();
    await until(() => seats() === 5, 'five seats taken');
    left.abort();
    await ended;
    await until(() => seats() === 0, 'all seats free');
  });

  it('takes a call that says it is the last for the end of its workflow', async () => {
    const send = (final: boolean) =>
      client.chat.completions
        .create(chat('llama-3.1-8b', 4), {
          headers: { 'x-maestro-workflow': 'short', ...(final ? { 'x-maestro-session-final': 'true' } : {}) },
        })
        .withResponse();
    const stageIndexes: number[] = [];
    for (const final of [false, true, false]) {
      const { response } = await send(final);
      stageIndexes.push(served.scheduling.explain(response.headers.get('x-request-id')!)!.context.stageIndex);
    }
    expect(stageIndexes).toEqual([0, 1, 0]);
  });

  it('wakes a sleeping model by putting an idle one to sleep, and never reaches an engine that sleeps', async () => {
    expect(engine('moe').state).toBe('sleeping');
    const { data, response } = await client.chat.completions.create(chat('qwen3-30b-a3b', 8)).withResponse();
    expect(data.usage?.completion_tokens).toBe(8);
    expect(Number(response.headers.get('x-maestro-cold-start-ms'))).toBeGreaterThan(0);
    expect(engine('moe').state).toBe('running');
    expect(engine('big').state).toBe('sleeping');
    // Everything that the sleeping engine was ever given has run: nothing waits inside it.
    const { requests } = await ledgerOf('big');
    expect(requests.filter(({ startedMs }) => startedMs == null)).toEqual([]);
  });

  it('ends a stream of a killed engine with an error event and no [DONE]; the queue moves on, and the engine serves again', async () => {
    const victims = Array.from({ length: 6 }, (_, index) => {
      let started = false;
      const done = rawStream(chat('qwen3-30b-a3b', 15_000, `long ${index}`), (text) => {
        started ||= text.includes('"content"');
      });
      return { done, hasStarted: () => started };
    });
    await until(() => victims.every(({ hasStarted }) => hasStarted()), 'all six streams flow');
    await served.fleet!.kill('moe', 'SIGKILL');
    for (const { done } of victims) {
      const { status, text } = await done;
      expect(status).toBe(200);
      expect(text).toContain('data: {"error"');
      expect(text).not.toContain('[DONE]');
    }
    await until(() => engine('moe').state === 'down', 'the dead engine is taken out');
    // Others go on meanwhile.
    expect((await client.chat.completions.create(chat('llama-3.1-8b', 4))).usage?.completion_tokens).toBe(4);
    await expect(client.chat.completions.create(chat('qwen3-30b-a3b', 4))).rejects.toMatchObject({ status: 503 });
    await served.fleet!.restart('moe');
    await until(() => engine('moe').state !== 'down', 'the engine is back');
    expect((await client.chat.completions.create(chat('qwen3-30b-a3b', 4))).usage?.completion_tokens).toBe(4);
  });

  it('places a request again when an engine refuses the connection, and loses none of a burst', async () => {
    await served.fleet!.kill('small-1', 'SIGKILL');
    const answers = await Promise.all(
      Array.from({ length: 24 }, () => client.chat.completions.create(chat('llama-3.1-8b', 16))),
    );
    expect(answers.map((answer) => answer.usage?.completion_tokens)).toEqual(Array.from({ length: 24 }, () => 16));
    await served.fleet!.restart('small-1');
  });

  it('frees everything when clients leave in the queue, before the first token and in the stream', async () => {
    const aborts = [0, 1, 20, 60, 150, 400].map(async (delayMs) => {
      const controller = new AbortController();
      const call = client.chat.completions.create(
        { ...chat('qwen3-32b', 2000), stream: true },
        { signal: controller.signal },
      );
      setTimeout(() => controller.abort(), delayMs);
      try {
        for await (const _chunk of await call);
      } catch {
        // The abort is the point.
      }
    });
    await Promise.all(aborts);
    await until(() => served.scheduling.openStages === 0, 'no stage is open');
  });

  it('has ended every accepted request in exactly one outcome, and every counter is back at zero', async () => {
    await until(() => served.scheduling.openStages === 0, 'no stage is open');
    await until(() => served.scheduling.fleet().engines.every(({ leases }) => leases === 0), 'no lease is held');
    const { outcomes, queued, engines } = served.scheduling.fleet();
    expect(Object.values(queued).reduce((sum, count) => sum + count, 0)).toBe(0);
    expect(engines.map(({ kvReservedTokens }) => kvReservedTokens)).toEqual(engines.map(() => 0));
    const metrics = await (await request(`${served.address}/metrics`)).body.text();
    const counted = [...metrics.matchAll(/^maestro_requests_total\{[^}]*outcome="(\w+)"[^}]*\} (\d+)$/gm)];
    const byOutcome: Record<string, number> = {};
    for (const [, outcome, count] of counted) byOutcome[outcome!] = (byOutcome[outcome!] ?? 0) + Number(count);
    expect(byOutcome).toEqual(Object.fromEntries(Object.entries(outcomes).filter(([, count]) => count > 0)));
    expect(metrics).toMatch(/^maestro_requests_in_flight 0$/m);
    expect(outcomes).toMatchObject({ engine_failed: 6, internal: 0 });
  });
});
