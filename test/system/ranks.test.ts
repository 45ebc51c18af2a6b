/** `maestro up` in front of an emulated server with data-parallel ranks: each call runs on the rank that was chosen for it. */
import { type Dispatcher, request } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { until } from './agent-process.js';

const fleet = (more: string) => `
fleet:
  timeScale: 10
  nodes:
    - id: n
      gpus: { type: h100-sxm, count: 2 }
      hostMemory: 512GiB
      engines:
        - { id: e, model: llama-3.1-8b, gpus: [0, 1], dataParallel: 2, kvMemory: 8GiB, maxModelLen: 16384${more} }
observe: { logLevel: silent }
`;

let served: Served;

afterEach(async () => {
  await served?.stop(0);
});

interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** A workflow whose calls each stand on top of the one before. */
class Talk {
  private readonly messages: Message[] = [];

  constructor(private readonly workflow: string) {}

  /** The next call; returns the rank that was chosen for it. */
  async turn(): Promise<number | undefined> {
    this.messages.push({ role: 'user', content: `${this.workflow}${this.messages.length} `.repeat(1_000) });
    const answer = await send(this.workflow, { max_tokens: 10, messages: this.messages });
    const { choices } = (await answer.body.json()) as { choices: { message: Message }[] };
    this.messages.push(choices[0]!.message);
    return rankOf(answer);
  }
}

/** A call with a header of the client's own that nobody must follow. */
async function send(workflow: string, body: object, signal?: AbortSignal) {
  const answer = await request(`${served.address}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-maestro-workflow': workflow, 'x-data-parallel-rank': '1' },
    body: JSON.stringify({ model: 'llama-3.1-8b', ignore_eos: true, ...body }),
    ...(signal ? { signal } : {}),
  });
  expect(answer.statusCode).toBe(200);
  return answer;
}

const rankOf = ({ headers }: Dispatcher.ResponseData) =>
  served.scheduling.explain(String(headers['x-request-id']))!.rank;

/** Value of a counter of the emulated server, by rank. */
async function counted(name: string): Promise<number[]> {
  const page = await (await request(`${served.fleet!.engines[0]!.url}/metrics`)).body.text();
  const lines = page.split('\n').filter((line) => line.startsWith(`vllm:${name}{`));
  return ['0', '1'].map((rank) =>
    Number(
      lines
        .find((line) => line.includes(`engine="${rank}"`))
        ?.split(' ')
        .at(-1),
    ),
  );
}

describe('data-parallel ranks behind one address', () => {
  it('get calls where the least runs, and the next ones of a workflow where its context is', async () => {
    served = await serve({ config: parseConfig(fleet(''), 'fleet.yaml'), port: 0 });
    const left = new AbortController();
    const messages = [{ role: 'user', content: 'write' }];
    const long = await send('long', { max_tokens: 16_000, stream: true, messages }, left.signal);
    expect(rankOf(long)).toBe(0);
    const [first, second, third] = [new Talk('first'), new Talk('second'), new Talk('third')];
    expect([await first.turn(), await second.turn()]).toEqual([1, 1]);
    left.abort();
    await long.body.dump().catch(() => undefined);
    await until('nothing runs', 10_000, () => served.scheduling.fleet().engines[0]!.leases === 0);
    expect([await first.turn(), await second.turn(), await third.turn()]).toEqual([1, 1, 0]);
    expect([await first.turn(), await second.turn(), await third.turn()]).toEqual([1, 1, 0]);
    // The server tells the same.
    expect((await counted('generation_tokens_total'))[1]).toBe(6 * 10);
    const [asked, hits] = [await counted('prefix_cache_queries_total'), await counted('prefix_cache_hits_total')];
    // Of three prompts that grow by equal parts, all but what is new is cached: (1 + 2) of (1 + 2 + 3) parts.
    expect(hits[1]! / asked[1]!).toBeGreaterThan(0.45);
  });

  it('are left to vLLM where the file says so: no header is sent, not even the one of a client', async () => {
    served = await serve({ config: parseConfig(fleet(', chooseRank: false'), 'fleet.yaml'), port: 0 });
    expect(await new Talk('any').turn()).toBeUndefined();
    expect(await counted('generation_tokens_total')).toEqual([10, 0]);
  });
});
