import type { NodeVariant, QueueRules } from '../../sim/types.js';
import { configSchema, type MaestroConfig } from '../config/schema.js';

/** What `scheduling` of a fleet file means for runs of the simulator. */
export interface SimRules {
  readonly queue: QueueRules;
  /** What differs from the defaults. */
  readonly node: NodeVariant;
  /** Share of simulated time that replays of `maestro` may take; undefined where the file says nothing. */
  readonly portfolioCpuShare: number | undefined;
  /** What the file sets and the runs do not follow, and what decides instead. */
  readonly ignored: readonly string[];
}

const DEFAULTS = configSchema.parse({}).scheduling;

/** Beside these, `lookAhead`, `minResidency` and `kvOverflowTarget` are part of every run. */
export function simRules({ scheduling }: MaestroConfig): SimRules {
  const { policy, portfolio, queue, starvationBoundMs, interactiveStarvationBoundMs } = scheduling;
  const { weights, retention, prefetch, firstSleep } = scheduling;
  return {
    queue: {
      maxCount: queue.maxCount,
      maxCountPerTenant: queue.maxCountPerTenant ?? queue.maxCount,
      maxBytes: queue.maxBytes,
      batchOverdueMs: starvationBoundMs,
      interactiveOverdueMs: interactiveStarvationBoundMs,
    },
    node: {
      ...(weights === DEFAULTS.weights ? {} : { weights }),
      ...(retention === DEFAULTS.retention ? {} : { retention }),
      ...(prefetch === DEFAULTS.prefetch ? {} : { prefetch }),
      ...(firstSleep === DEFAULTS.firstSleep ? {} : { firstSleep }),
    },
    portfolioCpuShare: portfolio.cpuShare === DEFAULTS.portfolio.cpuShare ? undefined : portfolio.cpuShare,
    ignored: [
      ...(policy === DEFAULTS.policy ? [] : ['scheduling.policy (--policy says which are compared)']),
      ...(portfolio.intervalMs === DEFAULTS.portfolio.intervalMs
        ? []
        : ['scheduling.portfolio.interval (it is that of the default)']),
    ],
  };
}
