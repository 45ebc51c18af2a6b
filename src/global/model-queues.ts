import { type KnownQueues, ModelQueue, type ModelQueueStats } from './model-queue.js';
import type { GlobalSchedulerConfig } from './scheduler-types.js';
import type { Prospect } from './unserved-models.js';

/** The queues of all models that have been asked for, in the order in which they first were. */
export class ModelQueues {
  private readonly queues = new Map<string, ModelQueue>();

  private modelsTakingTurns: ReadonlySet<string>;

  constructor(private readonly config: GlobalSchedulerConfig) {
    this.modelsTakingTurns = config.modelsTakingTurns;
  }

  /** From now on these models take turns on their GPUs. */
  takeTurns(models: ReadonlySet<string>): void {
    this.modelsTakingTurns = models;
    for (const [model, queue] of this.queues) queue.takesTurns = models.has(model);
  }

  /** Drops the queues of models that no engine of the fleet serves any more, once nothing of them waits or runs. */
  forgetUnserved(prospectOf: (model: string) => Prospect): void {
    for (const [model, { size, inFlight }] of this.queues) {
      if (size === 0 && inFlight === 0 && prospectOf(model) === 'none') this.queues.delete(model);
    }
  }

  /** The queue of the model; a new one where none of its stages has come yet. */
  of(model: string): ModelQueue {
    let queue = this.queues.get(model);
    if (!queue) {
      queue = new ModelQueue(model, this.config, this.modelsTakingTurns.has(model), this.config.known);
      this.queues.set(model, queue);
    }
    return queue;
  }

  /** Undefined where no stage of the model has come yet. */
  get(model: string): ModelQueue | undefined {
    return this.queues.get(model);
  }

  all(): Iterable<ModelQueue> {
    return this.queues.values();
  }

  /** Waiting stages by model. */
  waiting(): Record<string, number> {
    return this.byModel(({ size }) => size);
  }

  /** Models whose queue is a flood of single calls, with the share of their seats that is filled. The load of a queue is looked at while something waits, so an empty one is none. */
  floods(): Record<string, number> {
    const flooded = [...this.queues].filter(([, { singleCalls, size }]) => size > 0 && singleCalls.flooded);
    return Object.fromEntries(flooded.map(([model, { singleCalls }]) => [model, singleCalls.seatShare]));
  }

  /** What has been learnt of each. */
  known(): KnownQueues['byModel'] {
    return this.byModel(({ singleCalls }) => singleCalls.state());
  }

  stats(): ModelQueueStats[] {
    return [...this.queues.values()].map((queue) => queue.stats());
  }

  private byModel<T>(of: (queue: ModelQueue) => T): Record<string, T> {
    return Object.fromEntries([...this.queues].map(([model, queue]) => [model, of(queue)]));
  }
}
