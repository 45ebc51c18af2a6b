import type { Clock, Timer } from '../../model/clock.js';
import type { EngineSpec } from '../../model/fleet.js';
import type { VllmClient } from '../vllm/client.js';
import { KvSegment } from './segment.js';

export interface KvLimitOptions {
  readonly segment: Pick<KvSegment, 'setLimit' | 'read'>;
  /** Real time: shared memory follows no emulated clock. */
  readonly clock: Clock;
  /** Makes the engine allocate a block: an idle one looks at its limit only then. */
  readonly nudge: () => void;
  /** The engine holds no more than `bytes` now. */
  readonly onLimited: (bytes: number) => void;
  /** The limit cannot be moved, or what is above it does not come free. */
  readonly onFailed: (message: string) => void;
}

const POLL_MS = 50;
/** Its watcher looks every 100 ms; one that has not followed by now is idle. */
const NUDGE_AFTER_MS = 300;
/** Requests that hold more than the limit end within this, or the memory is not given back. */
const GIVE_UP_MS = 30_000;

/** Moves one engine's KV limit, and watches until a lower one is in force. A newer limit replaces one that is still awaited. */
export class KvLimit {
  private wanted = 0;
  private timer: Timer | undefined;

  constructor(private readonly options: KvLimitOptions) {}

  set(bytes: number): void {
    this.wanted = bytes;
    this.timer?.cancel();
    void this.write(bytes);
  }

  stop(): void {
    this.wanted = 0;
    this.timer?.cancel();
  }

  private async write(bytes: number): Promise<void> {
    const written = await this.options.segment.setLimit(bytes);
    if (this.wanted !== bytes) return;
    if (!written.ok) this.options.onFailed(written.message);
    else this.watch(bytes, this.options.clock.nowMs(), false);
  }

  private watch(bytes: number, sinceMs: number, nudged: boolean): void {
    const { segment, clock, nudge, onLimited, onFailed } = this.options;
    const reading = segment.read();
    const heldBytes = reading ? reading.usedBytes + reading.preallocBytes : Number.POSITIVE_INFINITY;
    const waitedMs = clock.nowMs() - sinceMs;
    if (heldBytes <= bytes) {
      onLimited(bytes);
      return;
    }
    if (waitedMs >= GIVE_UP_MS) {
      onFailed(`still holds ${heldBytes} bytes of KV memory, over its limit of ${bytes}`);
      return;
    }
    const nudgeNow = !nudged && waitedMs >= NUDGE_AFTER_MS;
    if (nudgeNow) nudge();
    this.timer = clock.after(POLL_MS, () => this.watch(bytes, sinceMs, nudged || nudgeNow));
  }
}

/** kvcached maps KV memory in pages of this size, one for K and one for V of every layer. */
const PAGE_BYTES = 2 * 1024 * 1024;
const UNKNOWN_LAYERS = 36;
const NUDGE_LIMIT_MS = 10_000;

/** The mover of an engine's KV limit; undefined where its pool is fixed. */
export function kvLimitOf(
  { kvSegment, kvPoolBytes, llm, model }: EngineSpec,
  client: VllmClient,
  clock: Clock,
  listener: Pick<KvLimitOptions, 'onLimited' | 'onFailed'>,
): KvLimit | undefined {
  if (kvSegment === undefined) return undefined;
  const bundleBytes = PAGE_BYTES * 2 * (llm?.layers ?? UNKNOWN_LAYERS);
  const segment = new KvSegment({ name: kvSegment, capacityBytes: Math.floor(kvPoolBytes), bundleBytes });
  const nudge = () => void client.canary({ model, maxTokens: 1, timeoutMs: NUDGE_LIMIT_MS });
  return new KvLimit({ segment, clock, nudge, ...listener });
}
