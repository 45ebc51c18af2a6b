import type { EngineRecord } from './engine-record.js';
import type { MemoryLedger } from './ledger.js';

/** An excess that lasts this long is somebody's memory; a shorter one is a driver that lags behind a sleep. */
const FOREIGN_SETTLE_MS = 2_000;

interface ForeignUse {
  bytes: number;
  /** The least of a higher excess that has been seen since then, still too young to count. */
  moreBytes: number;
  moreSinceMs: number | undefined;
}

function noteExcess(use: ForeignUse, excessBytes: number, nowMs: number): void {
  if (excessBytes <= use.bytes) {
    use.bytes = excessBytes;
    use.moreSinceMs = undefined;
  } else if (use.moreSinceMs === undefined) {
    use.moreBytes = excessBytes;
    use.moreSinceMs = nowMs;
  } else {
    use.moreBytes = Math.min(use.moreBytes, excessBytes);
    if (nowMs - use.moreSinceMs < FOREIGN_SETTLE_MS) return;
    use.bytes = use.moreBytes;
    use.moreSinceMs = undefined;
  }
}

/**
 * Does the driver's own account show the room that the ledger counts on? A victim's /sleep has returned before its pages are seen to be free, and other
 * processes may sit on the GPU; a wake into missing memory fails half done (vLLM issue 36753).
 */
export class RoomConfirmation {
  private usedBytes: readonly number[] = [];
  private sampledAtMs = Number.NEGATIVE_INFINITY;
  private freedAtMs = 0;
  private readonly foreign: ForeignUse[];

  constructor(
    private readonly ledger: MemoryLedger,
    private readonly enabled: boolean,
    private readonly maxAgeMs: number,
  ) {
    this.foreign = Array.from({ length: ledger.gpuCount }, () => ({ bytes: 0, moreBytes: 0, moreSinceMs: undefined }));
  }

  /** HBM of a GPU that somebody outside the ledger holds: another process, or an engine that is starting. */
  foreignBytes(gpu: number): number {
    return this.foreign[gpu]!.bytes;
  }

  sample(gpuUsedBytes: readonly number[], nowMs: number): void {
    this.usedBytes = gpuUsedBytes;
    this.sampledAtMs = nowMs;
    for (const [gpu, use] of this.foreign.entries()) {
      const excessBytes = Math.max(0, (gpuUsedBytes[gpu] ?? 0) - this.ledger.gpuUsedBytes(gpu));
      noteExcess(use, excessBytes, nowMs);
    }
  }

  /** A sleep has been reported: only later samples count. */
  memoryFreed(nowMs: number): void {
    this.freedAtMs = nowMs;
  }

  /** Is there room for `bytes` more on each GPU of the engine? */
  confirms(record: EngineRecord, bytes: number, engines: readonly EngineRecord[], nowMs: number): boolean {
    const { ledger, sampledAtMs, maxAgeMs } = this;
    // A wake that failed half way goes on where it stopped; what it holds already is part of the sample.
    if (!this.enabled || bytes === 0) return true;
    const fresh = sampledAtMs >= this.freedAtMs && nowMs - sampledAtMs <= maxAgeMs;
    if (!fresh) return nowMs - Math.max(sampledAtMs, this.freedAtMs) > 2 * maxAgeMs;
    return record.spec.gpuIndices.every((gpu) => {
      let spokenForBytes = 0;
      for (const other of engines) {
        if (ledger.phase(other.spec.engineId) !== 'waking' || !other.spec.gpuIndices.includes(gpu)) continue;
        spokenForBytes += ledger.sleepFreesBytes(other.spec.engineId);
      }
      const usedBytes = this.usedBytes[gpu] ?? 0;
      return usedBytes + spokenForBytes + bytes <= ledger.gpuCapacity(gpu);
    });
  }
}

/** One reading in sane numbers: a sentinel, a NaN or more than the card holds is no reading. */
export function saneReading(
  reading: readonly number[] | undefined,
  capacityBytes: readonly number[],
): readonly number[] | undefined {
  if (!reading || reading.length < capacityBytes.length) return undefined;
  const sane = capacityBytes.every((capacity, gpu) => reading[gpu]! >= 0 && reading[gpu]! <= 1.01 * capacity);
  return sane ? reading : undefined;
}
