import { ChurnMap } from '../model/churn-map.js';
import type { CapacityChanges, KeptContext } from '../model/fleet.js';
import { StableHeap } from '../model/heap.js';
import type { Prediction, Stage, StageOutcome } from '../model/stage.js';
import { CapacityLedger } from './capacity-ledger.js';
import type { ModelQueue } from './model-queue.js';
import { ModelQueues } from './model-queues.js';
import { keyChangeOf, type OrderInput, type OrderingPolicy, seatsWithin } from './order/policy.js';
import { ParkedStages } from './parked-stages.js';
import { PriorityScale } from './priority.js';
import { QueueLimits, retryAfterMs } from './queue-limits.js';
import { newQueuedStage, type QueuedStage } from './queued-stage.js';
import { ReturningStages } from './retention/returning.js';
import {
  DEFAULT_SCHEDULER_CONFIG,
  type Dispatch,
  type GlobalSchedulerConfig,
  type SchedulerStats,
  type SubmitResult,
} from './scheduler-types.js';
import type { WorkflowTracker } from './tracker.js';
import { WorkingSet } from './working-set.js';

/** Stages given a new key in one call of `dispatch`, so that a load step in a long queue costs no long pause. */
const REKEYS_PER_CALL = 32;

/**
 * Level 3: who goes next. Holds every accepted stage until a cluster can start it (late binding), in one bounded queue a model:
 * classes first, then tenant fairness, then the ordering policy. Every call costs at most log n.
 */
export class GlobalScheduler {
  private readonly config: GlobalSchedulerConfig;
  private policy: OrderingPolicy;
  private readonly batchClasses: ReadonlySet<string>;
  private readonly limits: QueueLimits;
  private readonly workingSet: WorkingSet;
  private readonly stages = new ChurnMap<QueuedStage>();
  /** What waits, model by model. */
  readonly queues: ModelQueues;
  private readonly waitingByWorkflow = new ChurnMap<QueuedStage[]>();
  private readonly capacities = new CapacityLedger();
  private readonly priorities = new PriorityScale();
  private readonly expiries = new StableHeap<QueuedStage>();
  private readonly changes = new StableHeap<QueuedStage>();
  private readonly parked = new ParkedStages();
  private readonly returning: ReturningStages;
  private readonly counts = { dispatched: 0, requeued: 0, expired: 0 };

  constructor(
    config: Partial<GlobalSchedulerConfig>,
    private readonly tracker: WorkflowTracker,
  ) {
    this.config = { ...DEFAULT_SCHEDULER_CONFIG, ...config };
    this.policy = this.config.policy;
    this.queues = new ModelQueues(this.config);
    this.limits = new QueueLimits(this.config);
    this.returning = new ReturningStages(this.config.retention, this.capacities);
    this.workingSet = new WorkingSet(this.config.kvPoolTokens);
    this.batchClasses = new Set(this.config.classes.filter((c) => c.kind === 'batch').map((c) => c.name));
  }

  get policyName(): string {
    return this.policy.name;
  }

  /** Takes a stage into the queue. Its workflow must have been told to the tracker (`begin`) before. */
  submit(stage: Stage, prediction: Prediction, nowMs: number): SubmitResult {
    if (this.stages.has(stage.stageId)) throw new Error(`GlobalScheduler: stage ${stage.stageId} was submitted twice`);
    const workflow = this.tracker.workflow(stage.workflowId);
    if (!workflow) throw new Error(`GlobalScheduler: the tracker does not know workflow ${stage.workflowId}`);
    const refusal = this.limits.admit(stage);
    if (refusal) {
      return {
        kind: 'rejected',
        reason: refusal,
        retryAfterMs: retryAfterMs(this.queue(stage.model).expectedWaitMs(nowMs)),
      };
    }
    const kind = this.batchClasses.has(stage.sloClass) ? 'batch' : 'interactive';
    const timeoutMs = kind === 'batch' ? this.config.batchTimeoutMs : this.config.interactiveTimeoutMs;
    const queued = newQueuedStage(stage, prediction, workflow, kind, nowMs, nowMs + timeoutMs);
    this.stages.set(stage.stageId, queued);
    this.queue(stage.model).came(queued, nowMs);
    this.enterQueue(queued);
    this.enqueue(queued, nowMs);
    this.returning.submitted(queued, nowMs);
    this.config.traffic?.stageSubmitted(stage, prediction, nowMs);
    return { kind: 'queued', orderKey: queued.orderKey };
  }

  /** A dispatched stage has ended. Ended stages are forgotten; unknown ones are ignored. Returns what is to be kept of it. */
  complete(stageId: string, outcome: StageOutcome, nowMs: number): KeptContext | undefined {
    const queued = this.remove(stageId, outcome, nowMs);
    if (!queued) return undefined;
    return this.returning.ended(queued, outcome, this.queue(queued.stage.model), nowMs);
  }

  /** The stage is no longer wanted, wherever it is. True when it was here. */
  cancel(stageId: string, nowMs: number): boolean {
    return this.remove(stageId, undefined, nowMs) !== undefined;
  }

  private remove(stageId: string, outcome: StageOutcome | undefined, nowMs: number): QueuedStage | undefined {
    const queued = this.stages.get(stageId);
    if (!queued) return undefined;
    this.stages.delete(stageId);
    if (queued.place === 'dispatched') {
      const completed = outcome?.kind === 'completed';
      this.queue(queued.stage.model).ended(queued, completed, this.policy.fitsSeats === true, nowMs);
      this.workingSet.ended(queued.stage, queued.stage.finalStage === true, nowMs);
      for (const next of this.parked.takeFirstOfAdapters(queued.stage.model)) this.enqueue(next, nowMs);
    } else {
      this.withdraw(queued);
      this.leaveQueue(queued);
      this.returning.gone(queued.stage);
    }
    this.config.traffic?.stageEnded(stageId, outcome, nowMs);
    return queued;
  }

  /** A cluster could not start the stage: it goes back and keeps its age. Tried again after a short pause, so that nothing spins. */
  requeue(stageId: string, nowMs: number): void {
    const queued = this.stages.get(stageId);
    if (queued?.place !== 'dispatched') return;
    this.queue(queued.stage.model).inFlight -= 1;
    queued.workflow.dispatchedStages -= 1;
    this.counts.requeued += 1;
    this.workingSet.ended(queued.stage, false, nowMs);
    this.config.traffic?.stageReturned(stageId);
    this.limits.readmit(queued.stage);
    this.enterQueue(queued);
    queued.place = 'parked';
    this.parked.add(queued, nowMs);
  }

  /** A cluster's report on the models whose capacity has changed since its last one; its first is on all. */
  capacityChanged(changes: CapacityChanges): void {
    this.capacities.update(changes);
  }

  /** Everything that can leave now, in order. Call it after every event, and when {@link nextExpiryMs} comes. */
  dispatch(nowMs: number): Dispatch[] {
    this.releaseParked(nowMs);
    this.applyTimedChanges(nowMs);
    this.workingSet.expire(nowMs);
    if (this.limits.count === 0) return [];
    const dispatches: Dispatch[] = [];
    for (let next = this.returning.takeNext(nowMs); next; next = this.returning.takeNext(nowMs)) {
      this.start(next.queued, next.clusterId, undefined, this.queue(next.queued.stage.model), nowMs, dispatches);
    }
    for (const queue of this.queues.all()) this.dispatchModel(queue, nowMs, dispatches);
    return dispatches;
  }

  /** Ids of the stages whose time in the queue is over; they are gone from here and must be answered. */
  expire(nowMs: number): string[] {
    const expired: string[] = [];
    for (let first = this.expiries.peek(); first && first.key <= nowMs; first = this.expiries.peek()) {
      expired.push(first.value.stage.stageId);
      this.cancel(first.value.stage.stageId, nowMs);
    }
    this.counts.expired += expired.length;
    return expired;
  }

  /** When `expire` or `dispatch` next has something to do by time alone; Infinity when never. */
  nextExpiryMs(): number {
    const leaveMs = this.policy.kvShare === undefined ? Infinity : this.workingSet.nextLeaveMs();
    return Math.min(this.expiries.peek()?.key ?? Infinity, this.parked.nextMs, leaveMs);
  }

  /** Changes the order at once: every waiting stage gets its key under the new policy. */
  setPolicy(policy: OrderingPolicy, nowMs: number): void {
    this.policy = policy;
    for (const queue of this.queues.all()) {
      for (const queued of queue.blocked) queued.orderKey = policy.key(this.orderInput(queued, queue, nowMs));
      queue.sortBlocked();
      queue.markForRekey();
      for (let queued = queue.takeForRekey(); queued; queued = queue.takeForRekey()) this.rekey(queued, queue, nowMs);
    }
  }

  /** Engines have joined or left: from now on these models take turns. What waits gets its key for that. */
  fleetChanged(modelsTakingTurns: ReadonlySet<string>): void {
    this.queues.takeTurns(modelsTakingTurns);
    for (const queue of this.queues.all()) queue.markForRekey();
  }

  /** Stages that wait here, of all models. */
  get queued(): number {
    return this.limits.count;
  }

  /** The stages of the model that wait here; undefined where none has come yet. */
  waitingFor(model: string): Pick<ModelQueue, 'size' | 'firstKey'> | undefined {
    return this.queues.get(model);
  }

  stats(): SchedulerStats {
    return {
      policy: this.policy.name,
      queued: this.limits.count,
      queuedBytes: this.limits.bytes,
      inFlight: this.stages.size - this.limits.count,
      ...this.counts,
      rejected: { ...this.limits.rejected },
      models: this.queues.stats(),
    };
  }

  private dispatchModel(queue: ModelQueue, nowMs: number, dispatches: Dispatch[]): void {
    if (queue.size === 0) return;
    const allSeats = queue.inFlight + this.capacities.starts(queue.model);
    const seats = seatsWithin(this.policy, allSeats, queue.singleCalls.seatShare);
    if (queue.updateLoad(seats, nowMs) && this.policy.usesLoad) queue.markForRekey();
    for (let count = 0; count < REKEYS_PER_CALL; count++) {
      const queued = queue.takeForRekey();
      if (!queued) break;
      this.rekey(queued, queue, nowMs);
    }
    while (queue.size > 0 && this.capacities.hasAny(queue.model)) {
      if (queue.inFlight >= seats && this.capacities.starts(queue.model) > 0) return;
      if (queue.blocked.some((blocked) => this.tryStart(blocked, undefined, queue, nowMs, dispatches))) continue;
      const choice = queue.choose(nowMs, this.mayBegin);
      if (!choice) return;
      if (this.tryStart(choice.next, choice.passed, queue, nowMs, dispatches)) continue;
      if (this.capacities.starts(queue.model) === 0 || !queue.block(choice.next, nowMs)) return;
    }
  }

  /** May the workflow of this stage, which has not begun, begin now? */
  private readonly mayBegin = (stage: Stage): boolean => {
    const { kvShare } = this.policy;
    return kvShare === undefined || this.workingSet.admits(stage, kvShare);
  };

  private tryStart(
    queued: QueuedStage,
    passed: QueuedStage | undefined,
    queue: ModelQueue,
    nowMs: number,
    dispatches: Dispatch[],
  ): boolean {
    const { stage, prediction } = queued;
    const clusterId = this.capacities.take(stage.model, prediction.kvTokens.bound, queue.expectedWaitMs(nowMs));
    if (clusterId === undefined) return false;
    this.start(queued, clusterId, passed, queue, nowMs, dispatches);
    return true;
  }

  private start(
    queued: QueuedStage,
    clusterId: string,
    passed: QueuedStage | undefined,
    queue: ModelQueue,
    nowMs: number,
    dispatches: Dispatch[],
  ): void {
    const { stage, workflow, prediction } = queued;
    queue.take(queued, nowMs);
    queued.clusterId = clusterId;
    this.returning.started(queued);
    this.withdrawTimers(queued);
    this.leaveQueue(queued);
    queued.place = 'dispatched';
    workflow.dispatchedStages += 1;
    if (workflow.dispatchedStages === 1) this.rekeySiblings(queued, nowMs);
    this.counts.dispatched += 1;
    this.workingSet.started(stage, prediction.outputTokens.q50, nowMs);
    this.config.traffic?.stageStarted(stage.stageId, nowMs);
    // A stage that was let through out of turn must not wait inside the engine instead.
    if (passed) queued.orderKey = Math.min(queued.orderKey, passed.orderKey);
    const { orderKey } = queued;
    const kind = passed ? passed.kind : queued.kind;
    const priority = this.priorities.priority(orderKey, this.policy.keyUnit, kind, nowMs);
    const changes = !passed && this.policy.changesAtMs !== undefined;
    const keyChange = changes ? keyChangeOf(this.policy, this.orderInput(queued, queue, nowMs)) : undefined;
    dispatches.push({ stageId: stage.stageId, clusterId, orderKey, keyChange, priority });
  }

  /** The first stage of a workflow has started, which may change what the policy thinks of the others. */
  private rekeySiblings(queued: QueuedStage, nowMs: number): void {
    for (const sibling of this.waitingByWorkflow.get(queued.workflow.workflowId) ?? []) {
      if (sibling.place === 'queued') this.rekey(sibling, this.queue(sibling.stage.model), nowMs);
    }
  }

  /** Puts a stage in the order of its model, with the key it has now. */
  private enqueue(queued: QueuedStage, nowMs: number): void {
    const queue = this.queue(queued.stage.model);
    const input = this.orderInput(queued, queue, nowMs);
    queued.orderKey = this.policy.key(input);
    queued.fresh = this.isFresh(queued);
    queue.push(queued);
    this.planChange(queued, input);
  }

  private rekey(queued: QueuedStage, queue: ModelQueue, nowMs: number): void {
    const input = this.orderInput(queued, queue, nowMs);
    queued.orderKey = this.policy.key(input);
    queue.rekey(queued, this.isFresh(queued));
    this.planChange(queued, input);
  }

  /** Stands among the workflows that have yet to begin, where the policy holds those back. */
  private isFresh(queued: QueuedStage): boolean {
    return this.policy.kvShare !== undefined && queued.workflow.dispatchedStages === 0;
  }

  private planChange(queued: QueuedStage, input: OrderInput): void {
    const atMs = this.policy.changesAtMs?.(input) ?? Infinity;
    if (atMs === Infinity) {
      if (queued.changeEntry) this.changes.remove(queued.changeEntry);
      queued.changeEntry = undefined;
    } else if (!queued.changeEntry || !this.changes.rekey(queued.changeEntry, atMs)) {
      queued.changeEntry = this.changes.push(queued, atMs);
    }
  }

  private applyTimedChanges(nowMs: number): void {
    for (let count = 0; count < REKEYS_PER_CALL; count++) {
      const first = this.changes.peek();
      if (!first || first.key > nowMs) return;
      const queued = first.value;
      this.changes.remove(first);
      queued.changeEntry = undefined;
      const queue = this.queue(queued.stage.model);
      if (queued.place === 'blocked') queue.unblock(queued);
      if (queued.place === 'queued') this.rekey(queued, queue, nowMs);
    }
  }

  private releaseParked(nowMs: number): void {
    for (let due = this.parked.takeDue(nowMs); due; due = this.parked.takeDue(nowMs)) this.enqueue(due, nowMs);
  }

  /** Takes a waiting stage out of whatever structure it stands in. */
  private withdraw(queued: QueuedStage): void {
    if (queued.place !== 'parked') this.queue(queued.stage.model).remove(queued);
    this.withdrawTimers(queued);
  }

  private withdrawTimers(queued: QueuedStage): void {
    if (queued.expiryEntry) this.expiries.remove(queued.expiryEntry);
    if (queued.changeEntry) this.changes.remove(queued.changeEntry);
    this.parked.remove(queued);
    queued.expiryEntry = undefined;
    queued.changeEntry = undefined;
  }

  private enterQueue(queued: QueuedStage): void {
    if (queued.expiresAtMs !== Infinity) queued.expiryEntry = this.expiries.push(queued, queued.expiresAtMs);
    const siblings = this.waitingByWorkflow.get(queued.workflow.workflowId);
    if (siblings) siblings.push(queued);
    else this.waitingByWorkflow.set(queued.workflow.workflowId, [queued]);
  }

  /** Gives the stage's room in the queue to others. */
  private leaveQueue(queued: QueuedStage): void {
    const { workflowId } = queued.workflow;
    const siblings = this.waitingByWorkflow.get(workflowId)!;
    if (siblings.length === 1) this.waitingByWorkflow.delete(workflowId);
    else siblings.splice(siblings.indexOf(queued), 1);
    this.limits.release(queued.stage);
  }

  private queue(model: string): ModelQueue {
    return this.queues.of(model);
  }

  private orderInput(queued: QueuedStage, queue: ModelQueue, nowMs: number): OrderInput {
    const { stage, kind, prediction, workflow, enqueuedAtMs } = queued;
    const foresight = this.config.foresight?.(stage.stageId);
    const { takesTurns, loadStep } = queue;
    return { stage, kind, takesTurns, prediction, workflow, enqueuedAtMs, nowMs, foresight, loadStep };
  }
}
