import type { FleetSummary, NodeSample } from '../../sim/report/types.js';
import type { Scheduling } from '../bus/contract.js';
import type { Clock, Timer } from '../model/clock.js';

/** Looks at the fleet this often, clock milliseconds. */
const SAMPLE_MS = 2_000;

/** Follows the fleet during a run: the timelines and totals of its report. Times are relative to the start of the recording. */
export class FleetRecorder {
  private readonly samples: NodeSample[] = [];
  private readonly hbm: NonNullable<FleetSummary['hbm']> = [];
  private startedMs = 0;
  private timer: Timer | undefined;

  constructor(
    private readonly scheduling: Scheduling,
    private readonly clock: Clock,
  ) {}

  start(): void {
    this.startedMs = this.clock.nowMs();
    this.sample();
  }

  /** Takes a last sample and sums up. */
  stop(): FleetSummary {
    this.timer?.cancel();
    const { kv, coldStarts, preemptions, outcomes } = this.look();
    return { kv, coldStarts, preemptions, outcomes: { ...outcomes }, samples: this.samples, hbm: this.hbm };
  }

  private sample(): void {
    this.look();
    this.timer = this.clock.after(SAMPLE_MS, () => this.sample());
  }

  private look() {
    const snapshot = this.scheduling.fleet();
    const atMs = snapshot.atMs - this.startedMs;
    for (const engine of snapshot.engines) {
      const { running, waiting, ...rest } = engine;
      this.samples.push({ ...rest, atMs, running: running ?? 0, waiting: waiting ?? 0 });
    }
    for (const gpu of snapshot.gpus) this.hbm.push({ atMs, ...gpu });
    return snapshot;
  }
}
