import type { Clock, Timer } from '../../model/clock.js';
import { messageOf } from '../../model/error.js';
import type { GpuReading, GpuSource } from './gpu-source.js';

/** Why a reading was not taken over. */
const TELEMETRY_REFUSALS = [
  'failed',
  'missing-gpu',
  'not-a-number',
  'negative',
  'above-total',
  'wrong-total',
  'stale',
] as const;
export type TelemetryRefusal = (typeof TELEMETRY_REFUSALS)[number];

export interface TelemetryWatchOptions {
  readonly source: GpuSource;
  /** Real time: drivers do not follow an emulated clock. */
  readonly clock: Clock;
  /** Memory of the node's GPUs by index, bytes. A source that claims clearly other sizes looks at other GPUs. */
  readonly gpuBytes: readonly number[];
  readonly intervalMs?: number;
  /** A reading older than this is no reading. */
  readonly maxAgeMs?: number;
  readonly onProblem?: (refusal: TelemetryRefusal, message: string) => void;
}

/**
 * Xids taken to need a reset or a restart (our choice, to be checked against NVIDIA's catalogue): uncorrectable ECC (48), failed row remapping (64), fallen off the bus (79), uncontained
 * ECC (95), GSP time-outs (119, 120). Others are faults of programs, or were contained.
 */
const FATAL_XIDS: ReadonlySet<number> = new Set([48, 64, 79, 95, 119, 120]);
/** Data sheets round, drivers reserve some: a total within this share is the same card. */
const TOTAL_TOLERANCE = 0.15;
/** Drivers report memory a little above the total while they update several counters. */
const USED_TOLERANCE = 0.01;

/**
 * Polls a source and keeps the last reading that can be true. Absurd and stale values are refused and counted: a wrong number is worse than none, because
 * a wake is allowed by it.
 */
export class TelemetryWatch {
  readonly refused: Record<TelemetryRefusal, number> = {
    failed: 0,
    'missing-gpu': 0,
    'not-a-number': 0,
    negative: 0,
    'above-total': 0,
    'wrong-total': 0,
    stale: 0,
  };
  private readonly intervalMs: number;
  private readonly maxAgeMs: number;
  private readings: readonly GpuReading[] | undefined;
  private readonly failed = new Set<number>();
  private readAtMs = Number.NEGATIVE_INFINITY;
  private timer: Timer | undefined;
  private stopped = true;
  private underWay: Promise<void> | undefined;
  /** The problem that was told last; the same one is told once. */
  private told: TelemetryRefusal | undefined;

  constructor(private readonly options: TelemetryWatchOptions) {
    this.intervalMs = options.intervalMs ?? 1_000;
    this.maxAgeMs = options.maxAgeMs ?? 5_000;
  }

  /** Reads once, then every interval. Resolves after the first look, whatever it brought. */
  async start(): Promise<void> {
    this.stopped = false;
    await this.poll();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  /** Looks now. A look that is under way already may have seen what was before, so another one follows it. */
  async refresh(): Promise<void> {
    await this.underWay;
    if (!this.stopped) await this.poll();
  }

  /** The last good readings in order of GPU index, while they are fresh. */
  latest(): readonly GpuReading[] | undefined {
    if (!this.readings) return undefined;
    if (this.options.clock.nowMs() - this.readAtMs <= this.maxAgeMs) return this.readings;
    this.refuse('stale', `the last good reading of ${this.options.source.name} is too old`);
    this.readings = undefined;
    return undefined;
  }

  /** HBM in use by GPU index; undefined while there is no telling. The telemetry of a node service. */
  usedBytes(): readonly number[] | undefined {
    return this.latest()?.map(({ usedBytes }) => usedBytes);
  }

  /** GPUs that have told of a fatal Xid, until they tell of none: an exporter keeps the last one until the GPU is reset, and later ones hide it. */
  failedGpus(): readonly number[] {
    return [...this.failed];
  }

  /** Looks, unless a look is under way; the next one is due an interval after it. */
  private poll(): Promise<void> {
    this.timer?.cancel();
    this.underWay ??= this.look().then(() => {
      this.underWay = undefined;
      if (!this.stopped) this.timer = this.options.clock.after(this.intervalMs, () => void this.poll());
    });
    return this.underWay;
  }

  private async look(): Promise<void> {
    const { source, clock, gpuBytes } = this.options;
    try {
      const seen = await source.read();
      this.noteXids(seen);
      const byIndex = new Map(seen.map((reading) => [reading.index, reading]));
      const readings = gpuBytes.map((_, index) => byIndex.get(index));
      const problem = judge(readings, gpuBytes);
      if (problem) this.refuse(problem.refusal, problem.message);
      else {
        this.readings = readings as GpuReading[];
        this.readAtMs = clock.nowMs();
        this.told = undefined;
      }
    } catch (error) {
      this.refuse('failed', messageOf(error));
    }
  }

  /** Whatever else a GPU tells: one that has fallen off the bus tells no sane memory. */
  private noteXids(seen: readonly GpuReading[]): void {
    for (const { index, xid } of seen) {
      if (xid === 0) this.failed.delete(index);
      else if (xid !== undefined && FATAL_XIDS.has(xid)) this.failed.add(index);
    }
  }

  private refuse(refusal: TelemetryRefusal, message: string): void {
    this.refused[refusal] += 1;
    if (this.told === refusal) return;
    this.told = refusal;
    this.options.onProblem?.(refusal, message);
  }
}

function judge(
  readings: readonly (GpuReading | undefined)[],
  gpuBytes: readonly number[],
): { refusal: TelemetryRefusal; message: string } | undefined {
  for (const [index, reading] of readings.entries()) {
    const problem = reading ? judgeGpu(reading, gpuBytes[index]!) : (['missing-gpu', 'is not listed'] as const);
    if (problem) return { refusal: problem[0], message: `GPU ${index} ${problem[1]}` };
  }
  return undefined;
}

function judgeGpu(
  { usedBytes, totalBytes }: GpuReading,
  expectedBytes: number,
): readonly [TelemetryRefusal, string] | undefined {
  if (!Number.isFinite(usedBytes) || !Number.isFinite(totalBytes))
    return ['not-a-number', 'tells memory that is no number'];
  if (usedBytes < 0 || totalBytes <= 0) return ['negative', `tells ${usedBytes} of ${totalBytes} bytes`];
  if (usedBytes > totalBytes * (1 + USED_TOLERANCE)) {
    return ['above-total', `tells ${usedBytes} bytes in use of ${totalBytes}`];
  }
  if (Math.abs(totalBytes - expectedBytes) > expectedBytes * TOTAL_TOLERANCE) {
    return ['wrong-total', `has ${totalBytes} bytes where ${expectedBytes} are configured`];
  }
  return undefined;
}
