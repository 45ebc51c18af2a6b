import { reloadMs, sleepMs, wakeMs } from '../engine/weight-moves.js';
import type { EngineSpec, WeightFiles } from '../model/fleet.js';
import { findGpu } from '../model/gpu-catalogue.js';
import { GB } from '../model/units.js';
import type { FoundLevel, SleepLevel } from './actions.js';

/** Weights whose size is unknown are taken for an 8B model in 16 bits, an unknown GPU for the most common one. */
const UNKNOWN_WEIGHT_BYTES = 16 * GB;
const UNKNOWN_GPU = findGpu('a100-sxm-80gb')!;
/** Share of a new observation in the learned duration. */
const LEARNING_RATE = 0.4;

/** How fast this host pins memory, seen in the first level-1 sleep of any of its processes; undefined until then. */
export interface HostPinning {
  bytesPerMs: number | undefined;
}

/**
 * How long an engine's sleeps and wakes take: from sizes and link speeds until they have been seen, from then on a moving average of what was observed,
 * which holds for this host. The first level-1 sleep of a process still pins its host memory and is several times slower; what is learned of it is a rate, for all processes.
 */
export class MoveDurations {
  private readonly learnedMs = new Map<string, number>();
  private pinned = false;
  /** What its process has paid, or will at its next wake, for sleeps that dropped the weights so as not to pin them. */
  private reloadsMs = 0;

  constructor(
    private readonly spec: EngineSpec,
    private readonly host: HostPinning = { bytesPerMs: undefined },
  ) {}

  /** A new process: its host copy is pinned only if it was found asleep at level 1, or has `slept` so before. */
  started(level: FoundLevel, slept: boolean): void {
    this.pinned = level === 1 || slept;
    this.reloadsMs = 0;
  }

  /** Has the process slept at level 1, so that its later sleeps are fast? */
  get hostCopyPinned(): boolean {
    return this.pinned;
  }

  sleepMs(level: SleepLevel): number {
    const learned = this.learnedMs.get(`sleep-${level}`);
    if (learned !== undefined && (this.pinned || level === 2)) return learned;
    if (level === 1 && !this.pinned && this.host.bytesPerMs) return this.weightBytes / this.host.bytesPerMs;
    return sleepMs(this.gpu, this.weightBytes, level, { firstTime: !this.pinned, gpusMoving: this.gpuCount });
  }

  /**
   * Would a process that has never slept at level 1 better drop its weights, where somebody waits for the room? That spares those who wait the pinning, and costs a reload at the next wake,
   * which is taken for certain. Once reloads have cost as much as pinning, memory is pinned: so it never costs more than twice what whoever knew all wakes would have paid. Weights of unknown size
   * are pinned.
   */
  dropsFirst(from: WeightFiles): boolean {
    if (this.pinned || !this.spec.weightBytes) return false;
    return this.reloadsMs + this.reloadCostMs(from) < this.sleepMs(1) - this.sleepMs(2);
  }

  /** It has been put to sleep so. */
  dropped(from: WeightFiles): void {
    this.reloadsMs += this.reloadCostMs(from);
  }

  /** What a wake takes longer for it. */
  private reloadCostMs(from: WeightFiles): number {
    return Math.max(0, this.wakeMs(2, from) - this.wakeMs(1));
  }

  wakeMs(level: SleepLevel, from: WeightFiles = 'disk'): number {
    const learned = this.learnedMs.get(wakeKey(level, from));
    if (learned !== undefined) return learned;
    return level === 1 ? wakeMs(this.gpu, this.weightBytes, this.gpuCount) : reloadMs(this.weightBytes, from);
  }

  /** A sleep and the wake that follows, once host memory is pinned: what changing places costs an engine again and again. */
  cycleMs(level: SleepLevel, from: WeightFiles): number {
    const learned = this.learnedMs.get(`sleep-${level}`);
    return (
      (learned ?? sleepMs(this.gpu, this.weightBytes, level, { gpusMoving: this.gpuCount })) + this.wakeMs(level, from)
    );
  }

  slept(level: SleepLevel, durationMs: number): void {
    const first = level === 1 && !this.pinned;
    if (level === 1) this.pinned = true;
    if (!first) this.learn(`sleep-${level}`, durationMs);
    else if (durationMs > 0 && this.spec.weightBytes > 0) this.host.bytesPerMs = this.spec.weightBytes / durationMs;
  }

  woke(level: SleepLevel, from: WeightFiles, durationMs: number): void {
    this.learn(wakeKey(level, from), durationMs);
  }

  private learn(key: string, durationMs: number): void {
    const before = this.learnedMs.get(key);
    this.learnedMs.set(key, before === undefined ? durationMs : before + LEARNING_RATE * (durationMs - before));
  }

  private get gpu() {
    return this.spec.gpu ?? UNKNOWN_GPU;
  }

  private get gpuCount(): number {
    return Math.max(1, this.spec.gpuIndices.length);
  }

  private get weightBytes(): number {
    return this.spec.weightBytes || UNKNOWN_WEIGHT_BYTES;
  }
}

function wakeKey(level: SleepLevel, from: WeightFiles): string {
  return level === 1 ? 'wake-1' : `wake-2-${from}`;
}
