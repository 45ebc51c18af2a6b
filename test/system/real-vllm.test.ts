/**
 * Maestro in front of vLLM: what goes through it, and whether its ledger agrees with the engines' own counters afterwards. Two emulated servers always; and the real ones
 * that `MAESTRO_VLLM_URL` names (one URL, or several with commas between them), which must serve one model, with the development endpoints on, and nobody else.
 */
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { launchEmulator } from '../../src/engine/emulator/launch.js';
import type { OutcomeKind } from '../../src/model/stage.js';

interface Engines {
  readonly urls: readonly string[];
  close(): Promise<unknown>;
}

async function emulated(): Promise<Engines> {
  const engines = await Promise.all(
    (['0.29.0', '0.32.0'] as const).map((vllmVersion) =>
      launchEmulator(
        {
          ...{ model: 'llama-3.1-8b', gpu: 'h100-sxm', servedModelNames: ['tiny'], vllmVersion, devMode: true },
          ...{ schedulingPolicy: 'priority', maxNumSeqs: 4, maxModelLen: 16_384, timeScale: 20 },
          ...{ enablePromptTokensDetails: true, enableSleepMode: true },
        },
        new WallClock(20),
      ),
    ),
  );
  return { urls: engines.map(({ url }) => url), close: () => Promise.all(engines.map((engine) => engine.close())) };
}

const named = process.env['MAESTRO_VLLM_URL'];
const TARGETS: readonly (readonly [string, (() => Promise<Engines>) | undefined])[] = [
  ['two emulated servers', emulated],
  [
    'the servers that MAESTRO_VLLM_URL names',
    named ? async () => ({ urls: named.split(','), close: async () => undefined }) : undefined,
  ],
];

/** A real server on a busy CPU takes its time. */
const TIMEOUT_MS = 300_000;

/** Requests that run at once; undefined counts as many. */
async function seatsOf(url: string): Promise<number> {
  const { body } = await request(`${url}/server_info?config_format=json`);
  const info = (await body.json()) as { vllm_config?: { scheduler_config?: { max_num_seqs?: number } } };
  return info.vllm_config?.scheduler_config?.max_num_seqs ?? Number.POSITIVE_INFINITY;
}

describe.each(TARGETS)('Maestro in front of %s', { timeout: TIMEOUT_MS }, (_name, open) => {
  let engines: Engines;
  let served: Served;
  let model = '';
  let contextTokens = 0;
  let before: Awaited<ReturnType<typeof counters>>;
  /** What the clients of this test saw. */
  const seen = { finishReasons: new Map<string, number>(), promptTokens: 0, outputTokens: 0, left: 0, refused: 0 };

  beforeAll(async () => {
    if (!open) return;
    engines = await open();
    served = await serve({
      config: parseConfig('observe: {logLevel: silent}\nscheduling: {prefetch: false}', 'test'),
      vllmUrls: engines.urls,
      port: 0,
    });
    // A busy server does not answer the first look in time; until it does, nobody knows its model.
    const up = () => served.scheduling.fleet().engines.every(({ state }) => state === 'running');
    while (!up()) await new Promise((resolve) => setTimeout(resolve, 50));
    const [only] = served.scheduling.models();
    model = only!.name;
    contextTokens = only!.maxModelLen;
    before = await counters();
  }, TIMEOUT_MS);
  afterAll(async () => {
    await served?.stop(0);
    await engines?.close();
  });

  const post = (path: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    request(served.address + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model, ...body }),
      ...(signal ? { signal } : {}),
    });
  const chat = (more: object = {}) => ({
    messages: [{ role: 'user', content: 'tell me of water' }],
    max_tokens: 8,
    ignore_eos: true,
    ...more,
  });
  /** So long that it does not end while a test looks. */
  const long = (more: object = {}) => chat({ max_tokens: Math.min(contextTokens - 200, 3_000), stream: true, ...more });

  interface Answer {
    readonly status: number;
    readonly text: string;
    readonly objects: readonly Record<string, unknown>[];
  }

  /** Reads an answer to its end, and puts what it says about tokens and ends into the account. */
  async function finish(answer: Awaited<ReturnType<typeof post>>): Promise<Answer> {
    const text = await answer.body.text();
    const parts = text.startsWith('{') ? [text] : [...text.matchAll(/^data: (\{.*)$/gm)].map(([, part]) => part!);
    const objects = parts.map((part) => JSON.parse(part) as Record<string, unknown>);
    if (answer.statusCode !== 200) seen.refused += 1;
    else for (const object of objects) account(object);
    return { status: answer.statusCode, text, objects };
  }

  /** OpenAI's answers and frames; the other APIs are counted where they are asked. */
  function account(object: Record<string, unknown>): void {
    const choices = (object['choices'] ?? []) as { finish_reason?: string | null }[];
    for (const { finish_reason: reason } of choices) if (reason) ended(reason);
    const usage = object['usage'] as { prompt_tokens?: number; completion_tokens?: number } | null | undefined;
    seen.promptTokens += usage?.prompt_tokens ?? 0;
    seen.outputTokens += usage?.completion_tokens ?? 0;
  }
  const ended = (reason: string) => seen.finishReasons.set(reason, (seen.finishReasons.get(reason) ?? 0) + 1);

  async function counters() {
    const sums = { running: 0, waiting: 0, promptTokens: 0, outputTokens: 0, preemptions: 0 };
    const ends: Record<string, number> = {};
    for (const url of engines.urls) {
      const { body } = await request(`${url}/metrics`);
      for (const line of (await body.text()).split('\n')) {
        const [, name, labels, value] = /^vllm:(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
        const add = (key: keyof typeof sums) => {
          sums[key] += Number(value);
        };
        if (name === 'num_requests_running') add('running');
        if (name === 'num_requests_waiting') add('waiting');
        if (name === 'prompt_tokens_total') add('promptTokens');
        if (name === 'generation_tokens_total') add('outputTokens');
        if (name === 'num_preemptions_total') add('preemptions');
        const reason = name === 'request_success_total' ? /finished_reason="(\w+)"/.exec(labels!)?.[1] : undefined;
        if (reason) ends[reason] = (ends[reason] ?? 0) + Number(value);
      }
    }
    return { ...sums, ends };
  }

  /** Waits until the engines say so; the test's own timeout bounds it. */
  async function engineSays(holds: (now: Awaited<ReturnType<typeof counters>>) => boolean): Promise<void> {
    while (!holds(await counters())) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const idle = () => engineSays(({ running, waiting }) => running + waiting === 0);
  const outcomes = () => served.scheduling.fleet().outcomes as Readonly<Record<OutcomeKind, number>>;
  const outcomeOf = (requestId: unknown) => served.scheduling.explain(String(requestId))?.outcome;
  const everyEngine = (path: string) =>
    Promise.all(
      engines.urls.map(async (url) =>
        (await request(url + path, { method: 'POST' })).body.dump().then(() => undefined),
      ),
    );

  /** First bytes of an answer that goes on. */
  async function begun(body: object, headers: Record<string, string> = {}) {
    const controller = new AbortController();
    const answer = await post('/v1/chat/completions', body, headers, controller.signal);
    const chunks = answer.body[Symbol.asyncIterator]();
    const { value } = await chunks.next();
    return { answer, controller, chunks, first: String(value), id: answer.headers['x-request-id'] };
  }

  const applies = (skip: (reason?: string) => void) => {
    if (!open) skip('MAESTRO_VLLM_URL names no server');
  };

  it('answers and streams chat and completions, and knows their tokens', async ({ skip }) => {
    applies(skip);
    const bodies: [string, object][] = [
      ['/v1/chat/completions', chat()],
      ['/v1/chat/completions', chat({ stream: true, stream_options: { include_usage: true } })],
      ['/v1/chat/completions', chat({ n: 2 })],
      ['/v1/completions', { prompt: 'the way', max_tokens: 6, ignore_eos: true }],
      [
        '/v1/completions',
        { prompt: 'the way', max_tokens: 6, ignore_eos: true, stream: true, stream_options: { include_usage: true } },
      ],
    ];
    for (const [path, body] of bodies) {
      const sent = await post(path, body);
      const { promptTokens, outputTokens } = seen;
      const { status, text } = await finish(sent);
      expect(status, text).toBe(200);
      if (text.startsWith('data:')) expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
      expect(outcomeOf(sent.headers['x-request-id'])).toMatchObject({
        kind: 'completed',
        promptTokens: seen.promptTokens - promptTokens,
        outputTokens: seen.outputTokens - outputTokens,
        finishReason: 'length',
      });
      // vLLM's counter has the prompt once for each choice, its usage once in all.
      if ('n' in body) seen.promptTokens += seen.promptTokens - promptTokens;
    }
  });

  it('keeps usage from clients that did not ask for it', async ({ skip }) => {
    applies(skip);
    const sent = await post('/v1/chat/completions', chat({ stream: true }));
    const { text, objects } = await finish(sent);
    expect(objects.some((object) => 'usage' in object)).toBe(false);
    const outcome = outcomeOf(sent.headers['x-request-id']);
    expect(outcome).toMatchObject({ kind: 'completed', outputTokens: 8 });
    expect(text).toContain('[DONE]');
    seen.outputTokens += outcome!.outputTokens!;
    seen.promptTokens += outcome!.promptTokens!;
  });

  it('serves responses and messages, whole and streamed', async ({ skip }) => {
    applies(skip);
    const messages = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 8, ignore_eos: true };
    const input = { input: 'hello', max_output_tokens: 8, ignore_eos: true };
    for (const [path, body, last] of [
      ['/v1/responses', input, 'response.'],
      ['/v1/messages', messages, 'message_stop'],
    ] as const) {
      for (const stream of [false, true]) {
        const sent = await post(path, { ...body, stream });
        const { status, objects, text } = await finish(sent);
        expect(status, text).toBe(200);
        if (stream) expect(String(objects.at(-1)!['type'])).toContain(last);
        const outcome = outcomeOf(sent.headers['x-request-id'])!;
        expect(outcome.kind).toBe('completed');
        // `/v1/responses` takes no ignore_eos on every version, so either end may come.
        ended(outcome.finishReason!);
        seen.outputTokens += outcome.outputTokens!;
        seen.promptTokens += outcome.promptTokens!;
      }
    }
    const counted = await finish(await post('/v1/messages/count_tokens', messages));
    expect(Number(counted.objects[0]!['input_tokens'])).toBeGreaterThan(0);
  });

  it('hands on what an engine refuses, in its words', async ({ skip }) => {
    applies(skip);
    const refusals: [string, object, number, string][] = [
      ['/v1/chat/completions', chat({ temperature: -1 }), 400, 'temperature must be non-negative'],
      ['/v1/completions', { prompt: 'a', max_tokens: 10 * contextTokens }, 400, 'max_tokens'],
      ['/v1/chat/completions', chat({ model: 'no-such-model' }), 404, 'no-such-model'],
      ['/v1/completions', { prompt: 'water '.repeat(10 * contextTokens), max_tokens: 5 }, 400, 'context_length'],
    ];
    for (const [path, body, status, words] of refusals) {
      const answer = await finish(await post(path, body));
      expect(answer.status, answer.text).toBe(status);
      expect(answer.text).toContain(words);
    }
  });

  it('gives every one of many requests at once its own answer', async ({ skip }) => {
    applies(skip);
    const answers = await Promise.all(
      Array.from({ length: 40 }, async (_, index) =>
        finish(
          await post(
            '/v1/chat/completions',
            chat({
              max_tokens: 5 + (index % 11),
              stream: index % 2 === 0,
              ...(index % 2 === 0 ? { stream_options: { include_usage: true } } : {}),
            }),
          ),
        ),
      ),
    );
    for (const [index, { objects, status }] of answers.entries()) {
      expect(status).toBe(200);
      const usage = objects.at(-1)!['usage'] as { completion_tokens: number };
      expect(usage.completion_tokens).toBe(5 + (index % 11));
    }
  });

  it('agrees with the engines to the token while every client stays', async ({ skip }) => {
    applies(skip);
    await idle();
    const now = await counters();
    const ends = Object.fromEntries(
      Object.entries(now.ends)
        .map(([reason, count]) => [reason, count - (before.ends[reason] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
    expect(ends).toEqual(Object.fromEntries(seen.finishReasons));
    expect(now.outputTokens - before.outputTokens).toBe(seen.outputTokens);
    expect(now.promptTokens - before.promptTokens).toBe(seen.promptTokens);
  });

  it('frees the engine when a client leaves in the middle', async ({ skip }) => {
    applies(skip);
    // A real server without CPU time hands everything out at once, and there is no middle; so it is tried until there is one.
    for (let cancelled = 0; cancelled === 0; ) {
      const streams = await Promise.all(Array.from({ length: 3 }, () => begun(long())));
      for (const { controller } of streams) controller.abort();
      await idle();
      for (const { id } of streams) {
        while (outcomeOf(id) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
        if (outcomeOf(id)!.kind === 'completed') ended('length');
        else cancelled += 1;
      }
      seen.left += cancelled;
    }
  });

  it('lets an interactive request overtake batch work that waits', async ({ skip }) => {
    applies(skip);
    const seats = (await Promise.all(engines.urls.map(seatsOf))).reduce((sum, count) => sum + count, 0);
    if (!(seats <= 12)) skip(`made for few seats (--max-num-seqs 4), not ${seats}`);
    const order: string[] = [];
    const send = async (name: string, maxTokens: number, sloClass: string) => {
      const headers = { 'x-maestro-class': sloClass, 'x-maestro-workflow': name };
      const body = chat({ max_tokens: maxTokens, stream: true, stream_options: { include_usage: true } });
      const answer = await finish(await post('/v1/chat/completions', body, headers));
      expect(answer.status, answer.text).toBe(200);
      order.push(name);
    };
    // Enough for every seat of every engine, and a queue behind them.
    const batch = Array.from({ length: 40 }, (_, index) => send(`batch-${index}`, 400, 'batch'));
    const queued = () => Object.values(served.scheduling.fleet().queued).reduce((sum, count) => sum + count, 0);
    while (queued() < 20) await new Promise((resolve) => setTimeout(resolve, 1));
    const ahead = queued();
    const urgent = send('urgent', 20, 'interactive');
    await Promise.all([...batch, urgent]);
    // All that waited when it came, save what was given to an engine while it was on its way, and what ran beside it.
    const behind = order.length - 1 - order.indexOf('urgent');
    expect(behind).toBeGreaterThanOrEqual(ahead - seats - 4);
    expect((await counters()).preemptions - before.preemptions).toBe(0);
  });

  it('wakes engines that somebody puts to sleep with requests frozen in them, and these end in full', async ({
    skip,
  }) => {
    applies(skip);
    // As above, until a sleep meets a request that runs.
    for (let frozen = false; !frozen; ) {
      const running = await begun(long());
      await everyEngine('/sleep?level=1&mode=keep');
      frozen = outcomeOf(running.id) === undefined;
      let text = running.first;
      for await (const chunk of { [Symbol.asyncIterator]: () => running.chunks }) text += String(chunk);
      expect(text).toContain('"finish_reason":"length"');
      ended('length');
      await everyEngine('/wake_up');
    }
  });

  it('ends as aborted what runs when somebody puts the engines to sleep, and wakes them for the next request', async ({
    skip,
  }) => {
    applies(skip);
    // As above, until the engines fall asleep in the middle.
    for (let reason = ''; reason !== 'abort'; ) {
      await everyEngine('/wake_up');
      const running = await begun(long());
      await everyEngine('/sleep?level=1');
      let text = running.first;
      for await (const chunk of { [Symbol.asyncIterator]: () => running.chunks }) text += String(chunk);
      reason = /"finish_reason":"(\w+)"/.exec(text)![1]!;
      ended(reason);
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
      expect(outcomeOf(running.id)).toMatchObject({ kind: 'completed', finishReason: reason });
    }
    const asleep = () => served.scheduling.fleet().engines.filter(({ state }) => state !== 'running').length;
    while (asleep() < engines.urls.length) await new Promise((resolve) => setTimeout(resolve, 20));
    const woken = await finish(await post('/v1/chat/completions', chat()));
    expect(woken.status).toBe(200);
    expect(asleep()).toBeLessThan(engines.urls.length);
    await everyEngine('/wake_up');
  });

  it('ends with a ledger in which every request has one outcome, and the engines have the same ends', async ({
    skip,
  }) => {
    applies(skip);
    await idle();
    const now = await counters();
    const endsOf = (reason: string) => (now.ends[reason] ?? 0) - (before.ends[reason] ?? 0);
    const { completed, client_cancelled: cancelled, rejected, ...others } = outcomes();
    expect(cancelled).toBe(seen.left);
    expect(others).toEqual({ deadline: 0, engine_failed: 0, internal: 0 });
    for (const reason of ['stop', 'abort']) expect(endsOf(reason)).toBe(seen.finishReasons.get(reason) ?? 0);
    // vLLM counts no abort for a client that left; one that it noticed too late may have run to its end.
    const unnoticed = endsOf('length') - seen.finishReasons.get('length')!;
    expect(unnoticed).toBeGreaterThanOrEqual(0);
    expect(unnoticed).toBeLessThanOrEqual(seen.left);
    // The second choice of n = 2 is an end of its own to vLLM; counting tokens is a completed request without one.
    const ends = [...seen.finishReasons.values()].reduce((sum, count) => sum + count, 0);
    expect(completed).toBe(ends - 1 + 1);
    // An unknown model is turned away at the door, before it is a stage.
    expect(rejected).toBe(seen.refused - 1);
    expect(served.scheduling.fleet().engines.map(({ leases }) => leases)).toEqual(engines.urls.map(() => 0));
  });
});
