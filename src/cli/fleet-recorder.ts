import type { FleetSummary, NodeSample } from '../../sim/report/types.js';
import type { FleetSnapshot } from '../bus/contract.js';
import type { Clock, Timer } from '../model/clock.js';

/** Looks at the fleet this often, clock milliseconds. */
const SAMPLE_MS = 2_000;

/**
 * Follows a fleet during a run: the timelines of its report, and what its counters moved by. Times are relative to the first look;
 * the source's own clock counts, so that the way to it does not matter.
 */
export class FleetRecorder {
  private readonly samples: NodeSample[] = [];
  private readonly hbm: NonNullable<FleetSummary['hbm']> = [];
  private first: FleetSnapshot | undefined;
  private last: FleetSnapshot | undefined;
  private timer: Timer | undefined;
  private stopped = false;

  /** @param source Looks at the fleet; undefined when it cannot be seen. */
  constructor(
    private readonly source: () => Promise<FleetSnapshot | undefined>,
    private readonly clock: Clock,
  ) {}

  /** Takes the first sample; false when the fleet cannot be seen, and then it does not look again. */
  async start(): Promise<boolean> {
    await this.look();
    if (this.first === undefined) return false;
    this.sampleLater();
    return true;
  }

  /** Takes a last sample and sums up; undefined when there was never anything to see. */
  async stop(): Promise<FleetSummary | undefined> {
    this.stopped = true;
    this.timer?.cancel();
    await this.look();
    const { first, last } = this;
    if (!first || !last) return undefined;
    const outcomes = Object.entries(last.outcomes).map(([kind, count]) => [kind, count - (first.outcomes[kind] ?? 0)]);
    return {
      kv: {
        unit: last.kv.unit,
        reservedByteSeconds: last.kv.reservedByteSeconds - first.kv.reservedByteSeconds,
        maxTokenByteSeconds: last.kv.maxTokenByteSeconds - first.kv.maxTokenByteSeconds,
        usedByteSeconds: last.kv.usedByteSeconds - first.kv.usedByteSeconds,
      },
      coldStarts: {
        count: last.coldStarts.count - first.coldStarts.count,
        requestSeconds: last.coldStarts.requestSeconds - first.coldStarts.requestSeconds,
      },
      preemptions: last.preemptions - first.preemptions,
      outcomes: Object.fromEntries(outcomes),
      samples: this.samples,
      hbm: this.hbm,
    };
  }

  private sampleLater(): void {
    if (this.stopped) return;
    this.timer = this.clock.after(SAMPLE_MS, () => void this.look().then(() => this.sampleLater()));
  }

  private async look(): Promise<void> {
    const snapshot = await this.source();
    if (!snapshot) return;
    this.first ??= snapshot;
    this.last = snapshot;
    const atMs = snapshot.atMs - this.first.atMs;
    for (const { running, waiting, ...engine } of snapshot.engines) {
      this.samples.push({ ...engine, atMs, running: running ?? 0, waiting: waiting ?? 0 });
    }
    for (const gpu of snapshot.gpus) this.hbm.push({ atMs, ...gpu });
  }
}
