import type { NodeSpec } from '../../src/model/fleet.js';
import type { SloClass } from '../../src/model/stage.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import type { NodeVariant, Placement, PredictionMode, QueueRules, Reservation } from '../types.js';
import type { DeadlineRule } from '../workload.js';

/** A workload on its fleet: what a sweep varies policies and loads over. Plain data, so that it goes to a worker as it is. */
export interface SweepWorkload {
  readonly name: string;
  readonly workflows: readonly TraceWorkflow[];
  readonly nodes: readonly NodeSpec[];
  readonly classes: readonly SloClass[];
  readonly defaultClass: string;
  readonly rttMs: Readonly<Record<string, number>>;
  /** Speed of the arrivals, relative to the trace, that counts as load 1. */
  readonly capacitySpeed: number;
  /** Workflows that arrive earlier are not counted, as a share of the time of arrivals. */
  readonly warmupShare: number;
  readonly lookAhead: number;
  readonly minResidencyMs: number;
  readonly kvOverflowTarget: number;
  /** Absent: nothing is turned away, since a benchmark counts a late workflow as late. */
  readonly queue?: QueueRules | undefined;
  /** CPU that the self-tuning policy may spend on replays, as a share of simulated time; live it is 0.05, which makes long sweeps slow. */
  readonly portfolioCpuShare: number;
  /** Where the traffic changes in the middle of the run; such a workload is played at load 1, which is as its phases say. */
  readonly phases?: readonly Phase[] | undefined;
}

/** A stretch of traffic that stays the same; where several follow each other, load or mix changes in the middle of a run. */
export interface Phase {
  /** What the traffic is. */
  readonly about: string;
  /** Of the capacity for this traffic. */
  readonly load: number;
  /** Minutes of the run at which it begins and ends. */
  readonly fromMinute: number;
  readonly toMinute: number;
}

/** What one run of a sweep is. */
export interface SweepCell {
  readonly workload: string;
  readonly deadlineRule: DeadlineRule;
  /** Name of a policy: one that serves, `maestro` with its portfolio, or an oracle. */
  readonly policy: string;
  readonly load: number;
  readonly seed: number;
  readonly placement: Placement;
  readonly reservation: Reservation;
  readonly prediction: PredictionMode;
  /** As live where absent. */
  readonly node?: NodeVariant;
  /** Name of the ordering that the self-tuning begins with; its own where absent. */
  readonly prior?: string;
  /** The fleet and its traffic so many times; once where absent. */
  readonly scale?: number;
}

/** What a run gave; one element of `runs[]` of a report. Wall times stand elsewhere, so that a rerun gives the same bytes. */
export interface RunRow extends Omit<SweepCell, 'prediction'> {
  readonly prediction: string;
  /** Workflows that count, and the share of them that was in time. */
  readonly workflows: number;
  readonly attainment: number;
  /** What no policy can exceed on this traffic. */
  readonly bound: number;
  readonly attainmentByClass: Readonly<Record<string, number>>;
  readonly goodputPerSecond: number;
  /** Workflows in time for each hour of a GPU of the fleet, and for each dollar that its GPUs cost; the latter only where all of them have a stated price. */
  readonly goodputPerGpuHour: number;
  readonly goodputPerDollar?: number;
  readonly kv: {
    readonly reservedByteSeconds: number;
    readonly maxTokenByteSeconds: number;
    readonly usedByteSeconds: number;
    readonly nodeOverflowRate: number;
  };
  readonly coldStarts: { readonly count: number; readonly requestSeconds: number };
  /** `cdf`: share of the workflows that completed within each of `slowdownPoints` of the report. */
  readonly slowdown: {
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
    readonly cdf: readonly number[];
  };
  /** Wait beyond the isolated time that the worst 1 % of each class exceed, seconds. */
  readonly worstWaitSecondsByClass: Readonly<Record<string, number>>;
  readonly preemptions: number;
  /** Jain's index over the attainment of tenants, 1 when all are served alike. */
  readonly fairness: number;
  /** Share of prompt tokens found in a prefix cache. */
  readonly cachedShare: number;
  /** What the self-tuning did; only where the policy is `maestro`. */
  readonly tuning?: { readonly evaluations: number; readonly switches: number; readonly chosen: string };
  readonly simulatedSeconds: number;
  readonly stages: number;
  /** Workflows that arrived in each minute of the run, the warm-up too, and how many of them were in time; where the traffic has phases. */
  readonly minutes?: { readonly arrived: readonly number[]; readonly inTime: readonly number[] };
}
