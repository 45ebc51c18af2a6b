import { closeSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { WallClock } from '../../bus/wall-clock.js';
import type { Clock, Timer } from '../../model/clock.js';
import { SEGMENT_BYTES, SEGMENT_FOLDER, segmentName } from '../kvcached/segment.js';
import type { EngineLoop } from './engine-loop.js';
import type { EmulatorModel, EmulatorOptions } from './options.js';
import type { SleepMachine } from './sleep.js';

export interface EmulatedKvcachedConfig {
  /** KVCACHED_IPC_NAME. */
  readonly name: string;
  readonly folder?: string | undefined;
  readonly capacityBytes: number;
  /** Real time: the watcher polls as the real one does. */
  readonly clock: Clock;
  readonly usedBytes: () => number;
  /** A new limit is in force. */
  readonly onLimit: (bytes: number) => void;
}

const POLL_MS = 100;

/**
 * What kvcached adds to an engine: its limit in shared memory, which a watcher looks at every 100 ms. It compares with the *initial* capacity, so that writing
 * that very value back leaves the last limit in force; 0 is ignored.
 */
export class EmulatedKvcached {
  readonly path: string;
  private readonly file: number;
  private timer: Timer | undefined;
  private limit: number;
  private told = -1;

  constructor(private readonly config: EmulatedKvcachedConfig) {
    this.path = join(config.folder ?? SEGMENT_FOLDER, segmentName(config.name));
    this.limit = config.capacityBytes;
    const words = Buffer.alloc(SEGMENT_BYTES);
    words.writeBigInt64LE(BigInt(config.capacityBytes), 0);
    writeFileSync(this.path, words);
    this.file = openSync(this.path, 'r+');
    this.watch();
  }

  /** KV memory that it may map, bytes over all layers of one rank. */
  get limitBytes(): number {
    this.readLimit();
    return this.limit;
  }

  close(): void {
    this.timer?.cancel();
    closeSync(this.file);
    rmSync(this.path, { force: true });
  }

  private readLimit(): void {
    const word = Buffer.alloc(8);
    readSync(this.file, word, 0, 8, 0);
    const wanted = Number(word.readBigInt64LE());
    if (wanted === this.config.capacityBytes || wanted <= 0 || wanted === this.limit) return;
    this.limit = wanted;
    this.config.onLimit(wanted);
  }

  private watch(): void {
    this.readLimit();
    const used = this.config.usedBytes();
    if (used !== this.told) {
      // The second word is its own; the first belongs to whoever sets limits, and is left alone.
      const word = Buffer.alloc(8);
      word.writeBigInt64LE(BigInt(used));
      writeSync(this.file, word, 0, 8, 8);
      this.told = used;
    }
    this.timer = this.config.clock.after(POLL_MS, () => this.watch());
  }
}

/** The elastic pool of an emulated server that was started with kvcached. */
export function kvcachedOf(
  { kvcachedName, kvcachedFolder }: EmulatorOptions,
  { kvPoolBytes, kvPoolTokens, blockSize }: EmulatorModel,
  loop: EngineLoop,
  sleep: SleepMachine,
): EmulatedKvcached | undefined {
  if (kvcachedName === undefined) return undefined;
  const blockBytes = (kvPoolBytes / kvPoolTokens) * blockSize;
  let mappedBytes = kvPoolBytes;
  let limitBytes = kvPoolBytes;
  const usedBytes = () => Math.ceil(loop.stats().usedBlocks * blockBytes);
  const settle = () => {
    // What is in use above the limit stays mapped until its requests end.
    const wanted = Math.max(limitBytes, usedBytes());
    if (wanted === mappedBytes) return;
    mappedBytes = wanted;
    void sleep.remapKv(wanted);
  };
  return new EmulatedKvcached({
    name: kvcachedName,
    folder: kvcachedFolder,
    capacityBytes: Math.floor(kvPoolBytes),
    clock: new WallClock(),
    usedBytes: () => {
      settle();
      return usedBytes();
    },
    onLimit: (bytes) => {
      limitBytes = bytes;
      loop.limitKv(bytes / blockBytes);
    },
  });
}
