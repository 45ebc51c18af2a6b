import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { KvSegment } from '../../src/engine/kvcached/segment.js';

const CAPACITY = 8 * 1024 ** 3;
const BUNDLE = 2 * 1024 ** 2 * 32 * 2;

describe('a kvcached segment, against a second process', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maestro-kvcached-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function segment(content: Buffer): KvSegment {
    writeFileSync(join(folder, 'e1'), content);
    return new KvSegment({ name: 'e1', capacityBytes: CAPACITY, bundleBytes: BUNDLE, folder });
  }

  function words(limit: number): Buffer {
    const bytes = Buffer.alloc(24);
    bytes.writeBigInt64LE(BigInt(limit));
    return bytes;
  }

  it('loses no update against another process that rewrites the words under its lock', async () => {
    const made = segment(words(CAPACITY));
    // The engine's way: read all three words and write them back, under LOCK_EX. Without our lock an update between the two is lost.
    const script = `while [ ! -e "$2" ]; do flock -x "$1" sh -c 'cat "$1" > "$1.copy"; sleep 0.002; dd if="$1.copy" of="$1" conv=notrunc 2>/dev/null' sh "$1"; done`;
    const stop = join(folder, 'stop');
    const engine = spawn('/bin/sh', ['-c', script, 'sh', made.path, stop]);
    const ended = once(engine, 'exit');
    try {
      for (let index = 1; index <= 15; index++) {
        const limit = BUNDLE * (1 + index);
        expect(await made.setLimit(limit)).toEqual({ ok: true });
        expect(made.read()?.limitBytes).toBe(limit);
      }
    } finally {
      writeFileSync(stop, '');
      await ended;
    }
    expect(made.read()?.limitBytes).toBe(BUNDLE * 16);
  });

  it('says so when the lock cannot be had', async () => {
    const made = segment(words(CAPACITY));
    const holder = spawn('flock', ['-x', made.path, 'sh', '-c', 'echo locked; cat >/dev/null']);
    const ended = once(holder, 'exit');
    await once(holder.stdout, 'data');
    try {
      expect(await made.setLimit(BUNDLE)).toMatchObject({ ok: false, message: expect.stringContaining('locked') });
      expect(made.read()?.limitBytes).toBe(CAPACITY);
    } finally {
      holder.stdin.end();
      await ended;
    }
  });
});

/** One GPU with two emulated engines whose pools are lent: both fit awake only when each gives back what it does not need. */
const FLEET = (suffix: string) => `
observe: {logLevel: silent}
fleet:
  timeScale: 1
  nodes:
    - id: node-a
      gpus: {type: h100-sxm, count: 1}
      hostMemory: 256GiB
      engines:
        - {id: one, model: llama-3.1-8b, gpus: [0], kvMemory: 40GiB, maxModelLen: 8192, kvcached: {segment: maestro-test-one-${suffix}}}
        - {id: two, model: qwen3-8b, gpus: [0], kvMemory: 40GiB, maxModelLen: 8192, startAsleep: true, kvcached: {segment: maestro-test-two-${suffix}}}
`;

describe('elastic KV memory through shared memory', () => {
  let served: Served | undefined;
  afterEach(async () => {
    await served?.stop(0);
    served = undefined;
  });

  it('wakes a second model beside the first: its limit shrinks, memory comes free, and both serve', async () => {
    const suffix = String(process.pid);
    served = await serve({ config: parseConfig(FLEET(suffix), 'test'), port: 0 });
    const up = () => served!.scheduling.fleet().engines.map(({ state }) => state);
    while (up().includes('down')) await new Promise((resolve) => setTimeout(resolve, 20));
    const ask = async (model: string) => {
      const { statusCode, body } = await request(`${served!.address}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 }),
      });
      await body.dump();
      return statusCode;
    };
    const segmentOf = (name: string) =>
      new KvSegment({ name: `maestro-test-${name}-${suffix}`, capacityBytes: 40 * 1024 ** 3, bundleBytes: BUNDLE });
    expect(segmentOf('one').read()?.limitBytes).toBe(40 * 1024 ** 3);
    expect(await ask('llama-3.1-8b')).toBe(200);
    expect(await ask('qwen3-8b')).toBe(200);
    expect(up()).toEqual(['running', 'running']);
    const limits = ['one', 'two'].map((name) => segmentOf(name).read()!.limitBytes / 1024 ** 3);
    // 80 GB of HBM less two residues and 30 GiB of weights.
    expect(limits[0]! + limits[1]!).toBeLessThan(45);
    expect(await ask('llama-3.1-8b')).toBe(200);
    const { gpus } = served.scheduling.fleet();
    for (const { usedBytes, totalBytes } of gpus) expect(usedBytes).toBeLessThanOrEqual(totalBytes);
    await served.stop(0);
    served = undefined;
    expect(['one', 'two'].filter((name) => existsSync(segmentOf(name).path))).toEqual([]);
  }, 60_000);
});
