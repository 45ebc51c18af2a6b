import type { EngineRecord } from './engine-record.js';
import type { MemoryLedger } from './ledger.js';

/**
 * Does the driver's own account show the room that the ledger counts on? A victim's /sleep has returned before its pages are seen to be free, and other
 * processes may sit on the GPU; a wake into missing memory fails half done (vLLM issue 36753).
 */
export class RoomConfirmation {
  private usedBytes: readonly number[] = [];
  private sampledAtMs = Number.NEGATIVE_INFINITY;
  private freedAtMs = 0;

  constructor(
    private readonly ledger: MemoryLedger,
    private readonly enabled: boolean,
    private readonly maxAgeMs: number,
  ) {}

  sample(gpuUsedBytes: readonly number[], nowMs: number): void {
    this.usedBytes = gpuUsedBytes;
    this.sampledAtMs = nowMs;
  }

  /** A sleep has been reported: only later samples count. */
  memoryFreed(nowMs: number): void {
    this.freedAtMs = nowMs;
  }

  confirms(record: EngineRecord, engines: readonly EngineRecord[], nowMs: number): boolean {
    const { ledger, sampledAtMs, maxAgeMs } = this;
    const bytes = ledger.wakeBytes(record.spec.engineId);
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
