import type { EngineRecord } from './engine-record.js';
import type { GpuNeed, MemoryLedger } from './ledger.js';

export interface RoomContext {
  readonly engines: readonly EngineRecord[];
  readonly ledger: MemoryLedger;
  /** HBM of a GPU that is taken outside the ledger. */
  readonly foreignBytes: (gpu: number) => number;
}

/**
 * HBM per GPU: free now, and free once all sleeps, drains and shrinks under way are done. What engines without a process will take even asleep is not free: they come
 * back.
 */
export class Room {
  readonly free: number[] = [];
  readonly coming: number[] = [];

  constructor({ engines, ledger, foreignBytes }: RoomContext) {
    for (let gpu = 0; gpu < ledger.gpuCount; gpu++) {
      const freeBytes = ledger.gpuFreeBytes(gpu) - foreignBytes(gpu);
      this.free.push(freeBytes);
      this.coming.push(freeBytes);
    }
    for (const record of engines) {
      const { state } = record.residency;
      const { engineId } = record.spec;
      if (ledger.phase(engineId) === 'absent') this.claim(record, ledger.residueBytes(engineId));
      if (state === 'falling-asleep' || state === 'draining') this.willFree(record, ledger.sleepFreesBytes(engineId));
      else if (state === 'running' && record.kvShrinkingTo !== undefined) {
        this.willFree(record, ledger.kvBytes(engineId) - record.kvShrinkingTo);
      }
    }
  }

  willFree(record: EngineRecord, bytes: number): void {
    for (const gpu of record.spec.gpuIndices) this.coming[gpu]! += bytes;
  }

  claim(record: EngineRecord, bytes: number): void {
    for (const gpu of record.spec.gpuIndices) {
      this.free[gpu]! -= bytes;
      this.coming[gpu]! -= bytes;
    }
  }

  /** What is missing on each GPU of the engine for `bytes` more. */
  missing(record: EngineRecord, bytes: number, room: readonly number[]): GpuNeed[] {
    const need: GpuNeed[] = [];
    for (const gpu of record.spec.gpuIndices) {
      if (room[gpu]! < bytes) need.push({ gpu, bytes: bytes - room[gpu]! });
    }
    return need;
  }
}
