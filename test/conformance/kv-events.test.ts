import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ZmtpConnection, type ZmtpSocketType } from '../../src/engine/emulator/kv-events/zmtp.js';
import { emulatorTarget } from './target.js';
import { ask } from './wire.js';

const TOPIC = 'kv@node@tiny';
const BLOCK = 16;

interface Batch {
  readonly topic: string;
  /** -1 at the end of a replay. */
  readonly sequence: bigint;
  readonly events: readonly Record<string, unknown>[];
}

/** A subscriber, or one that asks for a replay. */
class Listener {
  readonly batches: Batch[] = [];
  private readonly watchers: (() => void)[] = [];
  private readonly connection: ZmtpConnection;

  constructor(port: number, type: ZmtpSocketType, first: readonly Buffer[]) {
    this.connection = new ZmtpConnection(connect(port, '127.0.0.1'), type, {
      ready: (connection) => connection.send(first),
      message: (frames) => {
        const [topic, sequence, payload] = frames.slice(-3);
        this.batches.push({
          topic: topic!.toString(),
          sequence: sequence!.readBigInt64BE(),
          events: payload!.length === 0 ? [] : (unpack(payload!) as [number, Record<string, unknown>[]])[1],
        });
        for (const watcher of this.watchers.splice(0)) watcher();
      },
    });
  }

  async until(holds: (batches: readonly Batch[]) => boolean): Promise<readonly Batch[]> {
    while (!holds(this.batches)) await new Promise<void>((resolve) => this.watchers.push(resolve));
    return this.batches;
  }

  close(): void {
    this.connection.close();
  }
}

/** The part of MessagePack that the events use. */
function unpack(bytes: Buffer): unknown {
  let at = 0;
  const skip = (size: number): number => {
    at += size;
    return at - size;
  };
  const uint = (size: number): number | bigint =>
    size === 8 ? bytes.readBigUInt64BE(skip(8)) : bytes.readUIntBE(skip(size), size);
  const list = (length: number): unknown[] => Array.from({ length }, () => read());
  const text = (length: number): string => bytes.toString('utf8', skip(length), at);
  const read = (): unknown => {
    const code = bytes[at++]!;
    if (code < 0x80) return code;
    if (code < 0x90) return Object.fromEntries(Array.from({ length: code & 15 }, () => [read(), read()]));
    if (code < 0xa0) return list(code & 15);
    if (code < 0xc0) return text(code & 31);
    if (code === 0xc0) return null;
    if (code === 0xcb) return bytes.readDoubleBE(skip(8));
    if (code >= 0xcc && code <= 0xcf) return uint(2 ** (code - 0xcc));
    if (code === 0xd9) return text(Number(uint(1)));
    if (code === 0xdc) return list(Number(uint(2)));
    throw new Error(`MessagePack code ${code.toString(16)}`);
  };
  return read();
}

/** What vLLM 0.29.0 was seen to tell of its prefix cache; a real server is not asked, since the events need a port of their own. */
describe('KV events', () => {
  const listeners: Listener[] = [];
  let target: Awaited<ReturnType<typeof emulatorTarget>>;
  afterEach(async () => {
    for (const listener of listeners.splice(0)) listener.close();
    await target.close();
  });

  async function start(more: object = {}): Promise<void> {
    const kvEvents = { endpoint: 'tcp://*:0', replayEndpoint: 'tcp://*:0', topic: TOPIC, bufferSteps: 100 };
    target = await emulatorTarget('0.29.0', { kvEvents, enableSleepMode: true, ...more });
  }
  async function subscribe(topic = TOPIC): Promise<Listener> {
    const listener = new Listener(target.kvEventPorts[0]!, 'SUB', [Buffer.from(`\u0001${topic}`)]);
    listeners.push(listener);
    // Nothing answers a subscription, so a block is asked for until it is told.
    let marker = 1_000_000;
    while (listener.batches.length === 0) {
      await complete(Array(BLOCK).fill(marker++));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return listener;
  }
  const complete = (prompt: readonly number[], more: object = {}) =>
    ask(target, 'POST', '/v1/completions', { model: 'tiny', prompt, max_tokens: 2, ignore_eos: true, ...more });
  const tokens = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);

  it('tell the blocks of a prompt, their parent and salt, once for each content', async () => {
    await start();
    const listener = await subscribe();
    const before = listener.batches.length;
    const first = tokens(300, 2 * BLOCK + 5);
    await complete(first);
    await complete(first);
    const branch = [...first.slice(0, BLOCK), ...tokens(900, BLOCK + 3)];
    await complete(branch);
    await complete(first, { cache_salt: 'pepper' });
    const batches = await listener.until((all) => all.length >= before + 3);
    const [stored, branched, salted] = batches.slice(before).map(({ events }) => events[0]!);
    expect(stored).toEqual({
      type: 'BlockStored',
      block_hashes: [expect.anything(), expect.anything()],
      parent_block_hash: null,
      token_ids: first.slice(0, 2 * BLOCK),
      block_size: BLOCK,
      lora_id: null,
      medium: 'GPU',
      lora_name: null,
      extra_keys: [null, null],
      group_idx: 0,
      kv_cache_spec_kind: 'full_attention',
    });
    expect(branched).toMatchObject({
      parent_block_hash: (stored!['block_hashes'] as bigint[])[0],
      token_ids: branch.slice(BLOCK, 2 * BLOCK),
    });
    expect(salted).toMatchObject({ parent_block_hash: null, extra_keys: [['pepper'], null] });
    expect(salted!['block_hashes']).not.toEqual(stored!['block_hashes']);
    expect(batches.map(({ topic }) => topic)).toEqual(batches.map(() => TOPIC));
  });

  it('tell what is thrown out, one block in each event', async () => {
    // 64 blocks.
    await start({ kvCacheMemoryBytes: 64 * BLOCK * 131_072, maxModelLen: 1_000 });
    const listener = await subscribe();
    for (let round = 0; round < 3; round++) await complete(tokens(10_000 * round, 40 * BLOCK));
    const batches = await listener.until((all) => all.some(({ events }) => events.some(isRemoval)));
    const removed = batches.flatMap(({ events }) => events.filter(isRemoval));
    expect(removed[0]).toEqual({
      type: 'BlockRemoved',
      block_hashes: [expect.anything()],
      medium: 'GPU',
      group_idx: 0,
    });
  });

  it('come numbered without a gap while one listens; who comes late sees the gap and can have it replayed', async () => {
    await start();
    for (let round = 0; round < 3; round++) await complete(tokens(5_000 * round, BLOCK));
    const listener = await subscribe();
    await complete(tokens(70_000, BLOCK));
    const { length } = listener.batches;
    const live = await listener.until((all) => all.length > length - 1);
    expect(live[0]!.sequence).toBeGreaterThanOrEqual(3n);
    expect(live.map(({ sequence }) => sequence)).toEqual(live.map((_, index) => live[0]!.sequence + BigInt(index)));
    const start0 = Buffer.alloc(8);
    const replay = new Listener(target.kvEventPorts[1]!, 'DEALER', [Buffer.alloc(0), start0]);
    listeners.push(replay);
    const replayed = await replay.until((all) => all.at(-1)?.sequence === -1n);
    expect(replayed.slice(0, 3).map(({ sequence }) => sequence)).toEqual([0n, 1n, 2n]);
    expect(replayed.at(-1)).toEqual({ topic: '', sequence: -1n, events: [] });
    expect(replayed[Number(live[0]!.sequence)]).toEqual(live[0]);
  });

  it('tell of a cleared cache with the next step, and not when the engine falls asleep', async () => {
    await start();
    const listener = await subscribe();
    await complete(tokens(40, BLOCK));
    await ask(target, 'POST', '/sleep?level=1');
    await ask(target, 'POST', '/wake_up');
    const isClear = ({ events }: Batch) => events.some(({ type }) => type === 'AllBlocksCleared');
    // What was told until now has a number; the next one follows it directly.
    const replay = new Listener(target.kvEventPorts[1]!, 'DEALER', [Buffer.alloc(0), Buffer.alloc(8)]);
    listeners.push(replay);
    const told = await replay.until((all) => all.at(-1)?.sequence === -1n);
    expect(told.some(isClear)).toBe(false);
    await complete(tokens(40, BLOCK));
    const batches = await listener.until((all) => all.some(isClear));
    const clearing = batches.find(isClear)!;
    expect(clearing.sequence).toBe(told.at(-2)!.sequence + 1n);
    expect(clearing.events.map(({ type }) => type)).toEqual(['AllBlocksCleared', 'BlockStored']);
  });
});

function isRemoval(event: Record<string, unknown>): boolean {
  return event['type'] === 'BlockRemoved';
}
