/**
 * One Maestro agent with two real vLLM servers (CPU, tiny models) that it has started itself, under a replayed trace: serve, swap, sleep and wake by hand, pause, abort; then
 * each process is killed in turn. `npm run test:real-vllm` installs vLLM and sets `MAESTRO_REAL_VLLM`; without it everything here is skipped.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StageRecord } from '../../sim/report/types.js';
import { WallClock } from '../../src/bus/wall-clock.js';
import { WeightStore } from '../../src/engine/staging/weight-store.js';
import { groupMembers } from '../../src/engine/supervise/process-table.js';
import { VllmClient } from '../../src/engine/vllm/client.js';
import { engineAddress } from '../../src/model/engine-address.js';
import { readTrace } from '../../traces/reader.js';
import { runReplay } from '../../traces/replay/run.js';
import type { TraceRow } from '../../traces/schema.js';
import { type AgentProcess, alive, ENGINES, type EngineId, until } from '../system/agent-process.js';
import { type Installed, realFleet } from './fleet.js';

const given = process.env['MAESTRO_REAL_VLLM'];
/** A start of vLLM takes from 20 s to a minute and a half, as busy as the CPU is. */
const LIMIT_MS = 600_000;
/** The whole step is bounded by who runs it. */
const KILLS_LIMIT_MS = 900_000;

describe.skipIf(given === undefined)('an agent with two real vLLM servers', { timeout: LIMIT_MS }, () => {
  let fleet: AgentProcess;
  /** Every request of the replays, as their client saw it end. */
  const sent: StageRecord[] = [];
  /** How many have been answered in full so far. */
  let completed = 0;

  beforeAll(async () => {
    if (given === undefined) return;
    fleet = realFleet(JSON.parse(given) as Installed, process.env['MAESTRO_REAL_VLLM_FOLDER']!);
    await fleet.start();
    await fleet.allUp();
  }, LIMIT_MS);
  /** Breaks off a load that a failed test has left running. */
  let abandon = () => {};
  afterAll(async () => {
    abandon();
    await fleet?.dispose();
  });

  const post = (path: string, body: object) =>
    request(fleet.address + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const chat = (engine: EngineId, more: object = {}) => ({
    ...{ model: `tiny-${engine}`, max_tokens: 8, ignore_eos: true },
    messages: [{ role: 'user', content: 'tell me of water' }],
    ...more,
  });
  async function answer(engine: EngineId, more: object = {}): Promise<{ status: number; text: string }> {
    const { statusCode, body } = await post('/v1/chat/completions', chat(engine, more));
    return { status: statusCode, text: await body.text() };
  }
  const dispatchers = new Map<string, Agent>();
  /** Asks an engine itself, behind the agent's back. */
  const ask = (engine: EngineId, path: string, options: NonNullable<Parameters<typeof request>[1]> = {}) => {
    const { origin, socketPath } = engineAddress(fleet.url(engine));
    if (socketPath === undefined) return request(origin + path, options);
    const dispatcher = dispatchers.get(socketPath) ?? new Agent({ connect: { socketPath }, keepAliveTimeout: 1_000 });
    dispatchers.set(socketPath, dispatcher);
    return request(origin + path, { ...options, dispatcher });
  };
  const control = async (engine: EngineId, path: string, body?: object) => {
    const sentOff = await ask(engine, path, {
      method: 'POST',
      ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}),
    });
    await sentOff.body.dump();
    return sentOff.statusCode;
  };
  const isSleeping = async (engine: EngineId) => {
    const { body } = await ask(engine, '/is_sleeping');
    return ((await body.json()) as { is_sleeping: boolean }).is_sleeping;
  };

  it('swaps the two models: one wakes when the other has gone to sleep', async () => {
    // The second could only start when the first had gone to sleep.
    expect(await fleet.state('a')).toBe('sleeping');
    expect(await isSleeping('a')).toBe(true);
    for (const engine of ['a', 'b', 'a', 'b'] as const) {
      const { status, text } = await answer(engine);
      expect(status, text).toBe(200);
      expect(JSON.parse(text).usage.completion_tokens).toBe(8);
      expect(await fleet.state(engine)).toBe('running');
      expect(await isSleeping(engine)).toBe(false);
    }
    expect((await fleet.fleet()).coldStarts.count).toBeGreaterThanOrEqual(2);
    await until('a sleeps', 30_000, () => isSleeping('a'));
  });

  it('holds what comes for an engine that somebody has put to sleep, and wakes it', async () => {
    await control('b', '/sleep?level=1');
    await until('the agent has noticed', 30_000, async () => (await fleet.state('b')) === 'sleeping');
    expect((await answer('b')).status).toBe(200);
    expect(await isSleeping('b')).toBe(false);
  });

  it('reads its weights again from a copy of their files, and from the files themselves where that fails', async () => {
    const { model } = JSON.parse(given!) as Installed;
    expect((await answer('a')).status).toBe(200);
    const client = new VllmClient({ url: fleet.url('a') });
    const store = new WeightStore({ folder: join(fleet.folder, 'ram'), memoryBytes: 2 ** 30 });
    const says = () => client.canary({ model: 'tiny-a', maxTokens: 8, timeoutMs: 120_000 });
    try {
      const before = await says();
      expect(before.ok).toBe(true);
      await store.open([model]);
      expect(await store.stage(model)).toMatchObject({ ok: true });
      expect(await client.reloadWeights(120_000, store.pathOf(model))).toMatchObject({ ok: true });
      expect(await says()).toEqual(before);
      await store.drop(model);
      // Nothing may run on what a reload that failed has left: the next reload comes first, as in a wake that is tried again.
      expect(await client.reloadWeights(120_000)).toMatchObject({ ok: false, failure: { status: 500 } });
      expect(await client.reloadWeights(120_000, model)).toMatchObject({ ok: true });
      expect(await says()).toEqual(before);
    } finally {
      await client.close();
    }
  });

  it('ends a stream that is aborted inside vLLM, and waits out a pause', async () => {
    for (let reason = ''; reason !== 'abort'; ) {
      const { body } = await post('/v1/chat/completions', chat('b', { max_tokens: 20_000, stream: true }));
      let text = '';
      for await (const chunk of body) {
        if (text === '') await control('b', '/abort_requests', {});
        text += String(chunk);
      }
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
      // A server without CPU time may have handed out everything before.
      reason = /"finish_reason":"(\w+)"/.exec(text)?.[1] ?? 'none';
      expect(['abort', 'length']).toContain(reason);
    }
    await control('b', '/pause?mode=keep');
    const waits = answer('b');
    await until('it waits inside vLLM', 30_000, async () =>
      (await fleet.fleet()).engines.some(({ engineId, leases }) => engineId === 'b' && leases > 0),
    );
    await control('b', '/resume');
    expect((await waits).status).toBe(200);
  });

  it('serves again after each of its processes is killed in turn under a replayed trace, and after each restart of the agent', {
    timeout: KILLS_LIMIT_MS,
  }, async () => {
    const load = startLoad();
    const settled = async (engine: EngineId, before: number) => {
      await until(`${engine} is started anew`, LIMIT_MS, () => (fleet.pid(engine) ?? before) !== before);
      expect(groupMembers(before)).toEqual([]);
      await fleet.allUp();
    };
    const kill = async (engine: EngineId, victim: number | undefined) => {
      const before = fleet.pid(engine)!;
      const count = completed;
      await until('requests flow', LIMIT_MS, () => completed > count + 5);
      process.kill(victim!, 'SIGKILL');
      await settled(engine, before);
    };
    await kill('a', fleet.pid('a'));
    await kill('b', fleet.childOf('b', 'EngineCore'));
    await kill('a', fleet.childOf('a', 'Worker'));

    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const pids = ENGINES.map((engine) => fleet.pid(engine)!);
      await fleet.endAgent(signal);
      expect(pids.every(alive)).toBe(true);
      await fleet.start();
      await fleet.allUp();
      expect(ENGINES.map((engine) => fleet.pid(engine))).toEqual(pids);
      const count = completed;
      await until('requests flow again', LIMIT_MS, () => completed > count + 5);
    }
    await load.stop();
    const ends: Partial<Record<StageRecord['outcome'], number>> = {};
    for (const { outcome } of sent) ends[outcome] = (ends[outcome] ?? 0) + 1;
    console.log(`real vLLM ${(JSON.parse(given!) as Installed).version}, requests of the trace by outcome:`, ends);
    // What a client may hear while processes die: an answer cut or refused, and nothing else.
    const kinds = new Set(Object.keys(ends).map((outcome) => outcome.split(':')[0]!));
    expect([...kinds].filter((kind) => !['completed', 'engine_failed', 'rejected'].includes(kind))).toEqual([]);
  });

  it('ends with every request in one outcome: nothing is open, the log has each once', async () => {
    await until('nothing is open', 60_000, async () => {
      const { engines } = await fleet.fleet();
      return engines.every(({ leases, running }) => leases === 0 && !running);
    });
    const { outcomes, engines } = await fleet.fleet();
    expect(engines.map(({ kvReservedTokens }) => kvReservedTokens)).toEqual([0, 0]);
    const counted = await fleet.counts(fleet.address, 'maestro_requests_total', 'outcome');
    for (const [outcome, count] of Object.entries(outcomes))
      expect([outcome, counted[outcome] ?? 0]).toEqual([outcome, count]);
    expect(outcomes['internal']).toBe(0);
    const lines = readFileSync(join(fleet.folder, 'decisions.jsonl'), 'utf8').split('\n').filter(Boolean);
    const records = lines.map((line) => JSON.parse(line) as { stage: { stageId: string }; outcome: { kind: string } });
    expect(new Set(records.map(({ stage }) => stage.stageId)).size).toBe(records.length);
    // What a client saw complete stands in the log as completed; only what the killed agent held is missing there.
    const logged = new Set(
      records.filter(({ outcome }) => outcome.kind === 'completed').map(({ stage }) => stage.stageId),
    );
    const unknown = sent.filter(({ outcome, stageId }) => outcome === 'completed' && !logged.has(stageId));
    expect(unknown).toEqual([]);
  });

  it('ends its engines with it when told so, every process of them', async () => {
    const pids = ENGINES.flatMap((engine) => groupMembers(fleet.pid(engine)!));
    expect(pids.length).toBeGreaterThanOrEqual(6);
    await fleet.endAgent('SIGTERM');
    await fleet.start('stop');
    await fleet.allUp();
    await fleet.endAgent('SIGTERM');
    expect(pids.filter(alive)).toEqual([]);
  });

  /** Replays the demo trace again and again until it is told to stop. */
  function startLoad(): { stop(): Promise<void> } {
    let going = true;
    const leave = new AbortController();
    abandon = () => leave.abort();
    const running = (async () => {
      const rows = await shortRows();
      for (let run = 0; going && !leave.signal.aborted; run++) {
        const before = completed;
        const { stages } = await runReplay({
          trace: rows,
          target: fleet.address,
          clock: new WallClock(),
          speed: 20,
          runId: `run${run}`,
          signal: leave.signal,
          modelFor: ({ role = '' }) => (role.length % 2 === 0 ? 'tiny-a' : 'tiny-b'),
          onProgress: ({ stages }) => {
            completed = before + stages.completed;
          },
        });
        sent.push(...stages);
      }
    })();
    return {
      stop: async () => {
        going = false;
        await running;
      },
    };
  }
});

/** Workflows of the demo trace whose prompts fit, with short answers, and ids that may stand in a header. */
async function shortRows(): Promise<TraceRow[]> {
  const { rows } = await readTrace(join(import.meta.dirname, '../../traces/data/demo.jsonl.gz'));
  const plain = (id: string) => id.replaceAll('/', '.');
  const all: TraceRow[] = [];
  for await (const { request_id, wait_for = [], ...row } of rows)
    all.push({ ...row, request_id: plain(request_id), wait_for: wait_for.map(plain) });
  const workflowOf = (row: TraceRow) => row.workflow_id ?? row.session_id ?? row.request_id;
  const long = new Set(all.filter(({ input_length }) => input_length > 4_000).map(workflowOf));
  const short = all.filter((row) => !long.has(workflowOf(row)));
  const first = new Set(short.map(workflowOf).slice(0, 60));
  return short
    .filter((row) => first.has(workflowOf(row)))
    .map((row) => ({ ...row, max_tokens: Math.min(row.output_length, 100) || 1 }));
}
