import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { canaryFile } from './canary-file.js';
import { VllmClient } from './client.js';
import { FakeVllm } from './fake-vllm-fixture.js';
import { DEFAULT_MOVE_LIMITS, EngineMoves } from './moves.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function engine(sleepMs = DEFAULT_MOVE_LIMITS.sleepMs) {
  const fake = new FakeVllm();
  const client = new VllmClient({ url: await fake.start() });
  closers.push(
    () => client.close(),
    () => fake.stop(),
  );
  return { fake, client, moves: new EngineMoves(client, { ...DEFAULT_MOVE_LIMITS, sleepMs }) };
}

const posts = (fake: FakeVllm) =>
  fake.requests.filter((line) => line.startsWith('POST')).map((line) => line.split(' ')[1]);

describe('EngineMoves', () => {
  it('sleeps at level 1 and wakes by one call', async () => {
    const { fake, moves } = await engine();
    expect((await moves.sleep(1, 'wait', 'tiny')).ok).toBe(true);
    expect(fake.level).toBe(1);
    expect((await moves.wake(1)).ok).toBe(true);
    expect(posts(fake)).toEqual(['/sleep?level=1&mode=wait', '/wake_up']);
  });

  it('follows the level-2 recipe in its order, with a canary before and after', async () => {
    const { fake, moves } = await engine();
    expect((await moves.sleep(2, 'wait', 'tiny')).ok).toBe(true);
    expect((await moves.wake(2)).ok).toBe(true);
    expect((await moves.canary('tiny')).ok).toBe(true);
    expect(posts(fake)).toEqual([
      '/v1/completions',
      '/sleep?level=2&mode=wait',
      '/wake_up?tags=weights',
      '/collective_rpc',
      '/wake_up?tags=kv_cache',
      '/reset_prefix_cache',
      '/v1/completions',
    ]);
  });

  it('names the folder that a level-2 wake is to read, or lets the engine read its own', async () => {
    const { fake, moves } = await engine();
    await moves.sleep(2, 'wait', 'tiny');
    await moves.wake(2, '/ram/copy');
    await moves.sleep(2, 'wait', 'tiny');
    await moves.wake(2);
    const bodies = fake.requests.filter((line) => line.includes('/collective_rpc')).map((line) => line.split(' ')[2]);
    expect(bodies.map((body) => JSON.parse(body!))).toEqual([
      { method: 'reload_weights', kwargs: { weights_path: '/ram/copy' } },
      { method: 'reload_weights' },
    ]);
  });

  it('finds out garbage after a wake, by the earlier answer or by sight', async () => {
    const { fake, moves } = await engine();
    await moves.sleep(2, 'wait', 'tiny');
    await moves.wake(2);
    fake.answer = ' other words';
    expect((await moves.canary('tiny')).ok).toBe(false);
    const { fake: found, moves: fresh } = await engine();
    found.answer = '!!!!!!';
    expect((await fresh.canary('tiny')).ok).toBe(false);
    found.answer = ' five, six';
    expect((await fresh.canary('tiny')).ok).toBe(true);
  });

  it('keeps the answer of a process over a restart of the agent, and takes none of another process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'maestro-canary-'));
    const path = join(folder, 'canary', 'e.json');
    const failures: unknown[] = [];
    const memory = canaryFile(path, (error) => failures.push(error));
    const { fake, client } = await engine();
    const agent = () => new EngineMoves(client, DEFAULT_MOVE_LIMITS, memory);
    const first = agent();
    first.found(1000);
    await first.sleep(2, 'wait', 'tiny');
    fake.answer = ' other words';
    const again = agent();
    again.found(1000);
    expect((await again.canary('tiny')).ok).toBe(false);
    // A process that started later answers for itself.
    again.found(2000);
    expect((await again.canary('tiny')).ok).toBe(true);
    fake.level = 0;
    await again.sleep(2, 'wait', 'tiny');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ process: 2000, answer: ' other words' });
    writeFileSync(path, '{"process":20');
    expect(memory.recall(2000)).toBeUndefined();
    rmSync(folder, { recursive: true });
    writeFileSync(folder, '');
    memory.keep(2000, 'x');
    expect(failures).toHaveLength(1);
    rmSync(folder);
  });

  it('stops the recipe where a step fails, and never wakes the KV cache over unread weights', async () => {
    const { fake, moves } = await engine();
    await moves.sleep(2, 'wait', 'tiny');
    fake.faults.set('/collective_rpc', 500);
    expect(await moves.wake(2)).toMatchObject({ ok: false, failure: { status: 500 } });
    expect(posts(fake)).not.toContain('/wake_up?tags=kv_cache');
    fake.faults.clear();
    expect((await moves.wake(2)).ok).toBe(true);
  });

  it('believes /is_sleeping and not the 200 of the call', async () => {
    const { fake, moves } = await engine();
    // A server that answers 200 to /sleep and stays awake.
    fake.faults.set('/sleep', 200);
    expect((await moves.sleep(1, 'wait', 'tiny')).ok).toBe(false);
  });

  it('sets the scheduler going again when a sleep takes too long', async () => {
    const { fake, moves } = await engine(30);
    fake.faults.set('/sleep', 'hang');
    expect(await moves.sleep(1, 'wait', 'tiny')).toMatchObject({ failure: { kind: 'timeout' } });
    expect(posts(fake)).toContain('/wake_up');
  });

  it('has no canary for a server that does not generate', async () => {
    const { fake, moves } = await engine();
    fake.faults.set('/v1/completions', 404);
    expect((await moves.sleep(2, 'wait', 'tiny')).ok).toBe(true);
    expect((await moves.wake(2)).ok).toBe(true);
    expect((await moves.canary('tiny')).ok).toBe(true);
  });
});
