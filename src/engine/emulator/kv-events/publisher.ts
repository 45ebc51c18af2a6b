import { type AddressInfo, createServer, type Server } from 'node:net';
import type { BlockChange } from '../../kv-blocks.js';
import { hashText } from '../tokens.js';
import { type Packable, pack } from './msgpack.js';
import { ZmtpConnection } from './zmtp.js';

/** vLLM's `--kv-events-config`, as far as it is emulated. */
export interface KvEventsConfig {
  /** Where subscribers come to, such as `tcp://*:5557`; port 0 picks one. */
  readonly endpoint: string;
  /** Where missed batches can be asked for. */
  readonly replayEndpoint: string | undefined;
  readonly topic: string;
  /** Batches that are kept for replay. */
  readonly bufferSteps: number;
}

/** Takes vLLM's JSON; undefined where it asks for no events. */
export function kvEventsConfig(json: Readonly<Record<string, unknown>>): KvEventsConfig | undefined {
  if (json['enable_kv_cache_events'] !== true || json['publisher'] === 'null') return undefined;
  const text = (name: string) => (typeof json[name] === 'string' ? json[name] : undefined);
  return {
    endpoint: text('endpoint') ?? 'tcp://*:5557',
    replayEndpoint: text('replay_endpoint'),
    topic: text('topic') ?? '',
    bufferSteps: typeof json['buffer_steps'] === 'number' ? json['buffer_steps'] : 10_000,
  };
}

/** A subscriber that takes nothing loses batches beyond this, as behind ZeroMQ's high-water mark. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;
/** Ends a replay. */
const NO_MORE = Buffer.alloc(8, 0xff);

/**
 * Tells over ZeroMQ which blocks the prefix cache has: one numbered batch for each step that changed something. What a reset of the cache changes waits for the next step.
 * Only blocks of prompts have a known content here, so those of outputs are not told.
 */
export class KvEventPublisher {
  private readonly subscribers = new Map<ZmtpConnection, Set<string>>();
  private readonly servers: Server[] = [];
  private readonly connections = new Set<ZmtpConnection>();
  private readonly sent: { readonly sequence: Buffer; readonly payload: Buffer }[] = [];
  /** Token ids of blocks that the engine may come to hold. */
  private readonly tokensOf = new Map<string | number, readonly number[]>();
  private changes: BlockChange[] = [];
  private nextSequence = 0n;
  private readonly topic: Buffer;
  /** Ports for subscribers and for replays, once started. */
  ports: readonly number[] = [];

  constructor(
    private readonly config: KvEventsConfig,
    private readonly blockTokens: number,
  ) {
    this.topic = Buffer.from(config.topic);
  }

  async start(): Promise<void> {
    const live = await this.listen(this.config.endpoint, 'PUB', (frames, connection) => {
      const [body] = frames;
      const prefix = body?.toString('latin1', 1) ?? '';
      if (body?.[0] === 1) this.subscribers.get(connection)?.add(prefix);
      if (body?.[0] === 0) this.subscribers.get(connection)?.delete(prefix);
    });
    const { replayEndpoint } = this.config;
    const replay = replayEndpoint
      ? [await this.listen(replayEndpoint, 'ROUTER', (frames, connection) => this.replay(frames, connection))]
      : [];
    this.ports = [live, ...replay];
  }

  close(): void {
    for (const connection of this.connections) connection.close();
    for (const server of this.servers) server.close();
  }

  /** A prompt has come, with these names for its full blocks: `salt` and hash. */
  expect(hashes: readonly (string | number)[], salt: string | undefined, ids: Uint32Array): void {
    const { blockTokens } = this;
    for (const [index, hash] of hashes.entries()) {
      const tokens = [...ids.subarray(index * blockTokens, (index + 1) * blockTokens)];
      this.tokensOf.set(salt === undefined ? hash : `${salt}\u0000${hash}`, tokens);
    }
  }

  changed(change: BlockChange): void {
    // A sleep clears by its pause and by itself.
    if (change.kind === 'cleared' && this.changes.at(-1)?.kind === 'cleared') return;
    this.changes.push(change);
  }

  /** A step has been done: tells what has changed since the last one. */
  stepped(nowSeconds: number): void {
    if (this.changes.length === 0) return;
    const events = this.eventsOf(this.changes);
    this.changes = [];
    const sequence = Buffer.alloc(8);
    sequence.writeBigUInt64BE(this.nextSequence++);
    const payload = pack([{ float: nowSeconds }, events, 0]);
    this.sent.push({ sequence, payload });
    if (this.sent.length > this.config.bufferSteps) this.sent.shift();
    for (const [connection, prefixes] of this.subscribers) {
      const wanted = [...prefixes].some((prefix) => this.config.topic.startsWith(prefix));
      if (wanted && connection.backlogBytes < MAX_BACKLOG_BYTES) connection.send([this.topic, sequence, payload]);
    }
  }

  private eventsOf(changes: readonly BlockChange[]): Packable[] {
    const events: Packable[] = [];
    let run: { hashes: bigint[]; tokens: number[]; extra: Packable[]; last: string | number } | undefined;
    for (const change of changes) {
      if (change.kind === 'stored') {
        const tokens = this.tokensOf.get(change.key) ?? [];
        const salt = change.parent === undefined ? saltOf(change.key) : undefined;
        if (!run || change.parent !== run.last) {
          run = { hashes: [], tokens: [], extra: [], last: change.key };
          events.push(this.stored(run, change.parent));
        }
        run.hashes.push(hashOf(change.key));
        run.tokens.push(...tokens);
        run.extra.push(salt === undefined ? null : [salt]);
        run.last = change.key;
        continue;
      }
      run = undefined;
      if (change.kind === 'cleared') {
        this.tokensOf.clear();
        events.push({ type: 'AllBlocksCleared' });
      } else {
        this.tokensOf.delete(change.key);
        events.push({ type: 'BlockRemoved', block_hashes: [hashOf(change.key)], medium: 'GPU', group_idx: 0 });
      }
    }
    return events;
  }

  private stored(run: { hashes: bigint[]; tokens: number[]; extra: Packable[] }, parent: string | number | undefined) {
    return {
      type: 'BlockStored',
      block_hashes: run.hashes,
      parent_block_hash: parent === undefined ? null : hashOf(parent),
      token_ids: run.tokens,
      block_size: this.blockTokens,
      lora_id: null,
      medium: 'GPU',
      lora_name: null,
      extra_keys: run.extra,
      group_idx: 0,
      kv_cache_spec_kind: 'full_attention',
    };
  }

  /** Frames: empty, first number wanted. Every answer is a message of its own. */
  private replay(frames: readonly Buffer[], connection: ZmtpConnection): void {
    const empty = Buffer.alloc(0);
    const wanted = frames.at(-1);
    if (frames.length !== 2 || wanted?.length !== 8) return;
    for (const { sequence, payload } of this.sent) {
      if (sequence.compare(wanted) >= 0) connection.send([empty, this.topic, sequence, payload]);
    }
    connection.send([empty, empty, NO_MORE, empty]);
  }

  private async listen(
    endpoint: string,
    type: 'PUB' | 'ROUTER',
    message: (frames: readonly Buffer[], connection: ZmtpConnection) => void,
  ): Promise<number> {
    const [, port] = /^tcp:\/\/\*:(\d+)$/.exec(endpoint) ?? [];
    if (port === undefined) throw new Error(`KV events: "${endpoint}" is not an endpoint such as tcp://*:5557`);
    const server = createServer((socket) => {
      const connection = new ZmtpConnection(socket, type, {
        message,
        closed: () => {
          this.connections.delete(connection);
          this.subscribers.delete(connection);
        },
      });
      this.connections.add(connection);
      if (type === 'PUB') this.subscribers.set(connection, new Set());
    });
    this.servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(Number(port), resolve);
    });
    return (server.address() as AddressInfo).port;
  }
}

/** The 64 bits under which a block is known outside. */
function hashOf(key: string | number): bigint {
  if (typeof key === 'number') return BigInt(key);
  return (BigInt(hashText(key)) << 32n) | BigInt(hashText(key, 1));
}

function saltOf(key: string | number): string | undefined {
  if (typeof key === 'number') return undefined;
  const end = key.indexOf('\u0000');
  return end < 0 ? undefined : key.slice(0, end);
}
