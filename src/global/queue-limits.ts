import { ChurnMap } from '../model/churn-map.js';
import { QueueBudget } from '../model/queue-budget.js';
import type { Stage } from '../model/stage.js';
import type { SubmitRejection } from './scheduler-types.js';

export interface QueueLimitsConfig {
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxCountPerTenant: number;
}

/** How many stages may wait, in all and by tenant, and how much memory they may hold. */
export class QueueLimits {
  readonly rejected: Record<SubmitRejection, number> = {
    'queue-full-count': 0,
    'queue-full-bytes': 0,
    'tenant-queue-full': 0,
  };
  private readonly budget: QueueBudget;
  private readonly byTenant = new ChurnMap<number>();

  constructor(private readonly config: QueueLimitsConfig) {
    this.budget = new QueueBudget(config);
  }

  get count(): number {
    return this.budget.count;
  }

  get bytes(): number {
    return this.budget.bytes;
  }

  /** Takes room for a new stage, or says why there is none. */
  admit(stage: Stage): SubmitRejection | undefined {
    const refusal = this.refusal(stage);
    if (refusal) this.rejected[refusal] += 1;
    else this.countTenant(stage.tenant, 1);
    return refusal;
  }

  /** Takes room for a stage that has been here before, whether there is any or not. */
  readmit(stage: Stage): void {
    this.budget.add(stage.bodyBytes);
    this.countTenant(stage.tenant, 1);
  }

  /** Gives the stage's room to others. */
  release(stage: Stage): void {
    this.budget.remove(stage.bodyBytes);
    this.countTenant(stage.tenant, -1);
  }

  private refusal(stage: Stage): SubmitRejection | undefined {
    if ((this.byTenant.get(stage.tenant) ?? 0) >= this.config.maxCountPerTenant) return 'tenant-queue-full';
    const full = this.budget.tryAdd(stage.bodyBytes);
    return full && (full === 'count' ? 'queue-full-count' : 'queue-full-bytes');
  }

  private countTenant(tenant: string, change: number): void {
    const count = (this.byTenant.get(tenant) ?? 0) + change;
    if (count === 0) this.byTenant.delete(tenant);
    else this.byTenant.set(tenant, count);
  }
}

const MIN_RETRY_AFTER_MS = 1_000;
const MAX_RETRY_AFTER_MS = 60_000;

/** When a client that was turned away should ask again, milliseconds, by what a stage is expected to wait in the queue. */
export function retryAfterMs(expectedWaitMs: number): number {
  return Math.max(MIN_RETRY_AFTER_MS, Math.min(MAX_RETRY_AFTER_MS, Math.ceil(expectedWaitMs)));
}
