import { isDeepStrictEqual } from 'node:util';
import type { NodeVariant, QueueRules } from '../../sim/types.js';
import { configSchema, type MaestroConfig } from '../config/schema.js';

/** What `scheduling` of a fleet file means for runs of the simulator. */
export interface SimRules {
  readonly queue: QueueRules;
  /** What differs from the defaults. */
  readonly node: NodeVariant;
  /** What the file sets and the runs do not follow, and what decides instead. */
  readonly ignored: readonly string[];
}

const DEFAULTS = configSchema.parse({}).scheduling;

const IGNORED = {
  policy: '--policy says which are compared',
  portfolio: '`maestro` replays in a fixed small share of a core, so that sweeps end',
} as const satisfies Partial<Record<keyof typeof DEFAULTS, string>>;

/** Beside these, `lookAhead`, `minResidency` and `kvOverflowTarget` are part of every run. */
export function simRules({ scheduling }: MaestroConfig): SimRules {
  const { queue, starvationBoundMs, interactiveStarvationBoundMs, weights, retention, prefetch } = scheduling;
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
    },
    ignored: (['policy', 'portfolio'] as const)
      .filter((field) => !isDeepStrictEqual(scheduling[field], DEFAULTS[field]))
      .map((field) => `scheduling.${field} (${IGNORED[field]})`),
  };
}
