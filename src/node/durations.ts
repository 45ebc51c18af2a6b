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

/**
 * How long an engine's sleeps and wakes take: from sizes and link speeds until they have been seen, from then on a moving average of what was observed,
 * which holds for this host. The first level-1 sleep of a process still pins its host memory and is several times slower; nothing is learned from it.
 */
export class MoveDurations {
  private readonly learnedMs = new Map<string, number>();
  private pinned = false;

  constructor(private readonly spec: EngineSpec) {}

  /** A new process: its host copy is pinned only if it was found asleep at level 1, or has `slept` so before. */
  started(level: FoundLevel, slept: boolean): void {
    this.pinned = level === 1 || slept;
  }

  /** Has the process slept at level 1, so that its later sleeps are fast? */
  get hostCopyPinned(): boolean {
    return this.pinned;
  }

  sleepMs(level: SleepLevel): number {
    const learned = this.learnedMs.get(`sleep-${level}`);
    if (learned !== undefined && (this.pinned || level === 2)) return learned;
    return sleepMs(this.gpu, this.weightBytes, level, { firstTime: !this.pinned, gpusMoving: this.gpuCount });
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
