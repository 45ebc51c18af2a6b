import type { Clock } from '../../model/clock.js';
import { SPARE_BYTES } from './memory-limit.js';

/** Readings are this far apart: each costs a dozen small files. */
const EVERY_MS = 1_000;

/** Tells what RAM a host has left for pinned weights: others take it too, so what a node's share promises to sleeping engines may not be there. */
export class HostMemoryTeller {
  private toldAtMs = Number.NEGATIVE_INFINITY;

  /**
   * @param host Real time, and what the host has left; nothing is told where that is absent.
   * @param onReading Is told bytes, those less that are left to everybody else.
   */
  constructor(
    private readonly host: { readonly wallClock: Clock; readonly hostAvailableBytes?: () => number },
    private readonly onReading: (availableBytes: number) => void,
  ) {}

  /** Reads and tells, unless it has just done so. */
  tell(): void {
    const { hostAvailableBytes, wallClock } = this.host;
    if (!hostAvailableBytes || wallClock.nowMs() - this.toldAtMs < EVERY_MS) return;
    this.toldAtMs = wallClock.nowMs();
    this.onReading(Math.max(0, hostAvailableBytes() - SPARE_BYTES));
  }
}
