import { StableHeap } from '../model/heap.js';
import type { Stage } from '../model/stage.js';
import { FLOODED, LoadSteps } from './order/load-steps.js';
import type { QueuedStage } from './queued-stage.js';
import { SeatInterval } from './seat-interval.js';
import { SingleCalls, type SingleCallsState } from './single-calls.js';
import { TenantQueue } from './tenant-queue.js';

/** What stands above the ordering policy. */
export interface QueueDiscipline {
  /** Share of a model's dispatches that batch stages get while interactive ones wait too, in [0, 1]. */
  readonly batchShare: number;
  /** Share of a model's dispatches that goes to the oldest overdue stage while there is one, in [0, 1]. */
  readonly guardShare: number;
  /** A stage that has waited this long is overdue. */
  readonly interactiveOverdueMs: number;
  readonly batchOverdueMs: number;
  /** How far, in service milliseconds, one tenant may run ahead of another before it has to wait. */
  readonly tenantSlackMs: number;
}

/** Stages of a model that may stand aside because their KV does not fit yet: each is asked again before every dispatch. */
const MAX_BLOCKED = 16;

/** A whole dispatch of credit; shares such as a tenth do not add up to exactly 1 in binary. */
const ONE = 1 - 1e-9;

/** Waiting stages by class, those that are with a cluster, and the step of the load (`order/load-steps.ts`). */
export interface ModelQueueStats {
  readonly model: string;
  readonly interactive: number;
  readonly batch: number;
  readonly inFlight: number;
  readonly loadStep: number;
}

/** What another scheduler has learnt of its queues, by model; nothing is learnt anew before `learnsFromMs`. */
export interface KnownQueues {
  readonly byModel: Readonly<Record<string, SingleCallsState>>;
  readonly learnsFromMs: number;
}

/** May the workflow of a stage that stands apart begin? */
export type MayBegin = (stage: Stage) => boolean;

class ClassQueue {
  /** Stages in the order of the policy, and apart from them those whose workflows are held back from beginning. */
  readonly order: TenantQueue;
  readonly fresh: TenantQueue;
  readonly byAge = new StableHeap<QueuedStage>();

  constructor(tenantSlackMs: number) {
    this.order = new TenantQueue(tenantSlackMs);
    this.fresh = new TenantQueue(tenantSlackMs);
  }

  get size(): number {
    return this.order.size + this.fresh.size;
  }

  of(queued: QueuedStage): TenantQueue {
    return queued.fresh ? this.fresh : this.order;
  }

  firstKey(): number {
    const { order, fresh } = this;
    return Math.min(
      order.peek()?.orderKey ?? Number.POSITIVE_INFINITY,
      fresh.peek()?.orderKey ?? Number.POSITIVE_INFINITY,
    );
  }

  /** First in the order of the policy, among those that may begin. */
  first(mayBegin: MayBegin): QueuedStage | undefined {
    const first = this.order.peek();
    const fresh = this.fresh.peek();
    if (!fresh || (first && first.orderKey <= fresh.orderKey)) return first;
    return mayBegin(fresh.stage) ? fresh : first;
  }
}

/**
 * The waiting stages of one model. Interactive stages go before batch ones, except for two small shares: one for batch, so that
 * it always moves, and one for the oldest overdue stage, so that no policy starves anybody: a stage with n older overdue ones
 * before it leaves within (n + 1) ÷ guardShare dispatches. Both shares are counted in dispatches, without chance. The second share
 * also pays for blocked stages that are waited for: while their memory comes free, nothing else begins.
 */
export class ModelQueue {
  private readonly lengthSteps = new LoadSteps();
  private readonly seatInterval = new SeatInterval();
  readonly singleCalls: SingleCalls;
  /** Stages of the model that are with a cluster. */
  inFlight = 0;
  /** Were first in line and do not fit yet; taken out of the order, and in the order among themselves. */
  readonly blocked: QueuedStage[] = [];
  private batchCredit = 0;
  private guardCredit = 0;
  private readonly interactive: ClassQueue;
  private readonly batch: ClassQueue;
  private readonly waiting: QueuedStage[] = [];
  /** Stages below this index of `waiting` have yet to be looked at by {@link takeForRekey}. */
  private rekeyLeft = 0;

  constructor(
    readonly model: string,
    private readonly discipline: QueueDiscipline,
    /** See {@link modelsTakingTurns}; may change with the fleet. */
    public takesTurns: boolean,
    known: KnownQueues | undefined,
  ) {
    this.singleCalls = new SingleCalls(known?.byModel[model], known?.learnsFromMs);
    this.interactive = new ClassQueue(discipline.tenantSlackMs);
    this.batch = new ClassQueue(discipline.tenantSlackMs);
  }

  /** The step of the load (`order/load-steps.ts`), as of the last {@link updateLoad}. */
  get loadStep(): number {
    return this.singleCalls.flooded ? FLOODED : this.lengthSteps.step;
  }

  /** Waiting stages, the blocked ones included. */
  get size(): number {
    return this.waiting.length + this.blocked.length;
  }

  /** What a stage that comes now is expected to wait, milliseconds. */
  expectedWaitMs(nowMs: number): number {
    return this.size * this.seatInterval.expectedMs(nowMs);
  }

  /** Key of the stage that is first in the order of either class, the blocked ones included; Infinity where none waits. */
  firstKey(): number {
    const first = this.blocked[0]?.orderKey ?? Number.POSITIVE_INFINITY;
    return Math.min(first, this.interactive.firstKey(), this.batch.firstKey());
  }

  stats(): ModelQueueStats {
    const { model, inFlight, loadStep } = this;
    return {
      model,
      interactive: this.sizeOf('interactive'),
      batch: this.sizeOf('batch'),
      inFlight,
      loadStep,
    };
  }

  sizeOf(kind: 'interactive' | 'batch'): number {
    return this.classOf(kind).size + this.blocked.filter((queued) => queued.kind === kind).length;
  }

  /** A new stage has come. */
  came({ kind, workflow, prediction: { serviceMs, remainingMs } }: QueuedStage, nowMs: number): void {
    if (kind !== 'interactive') return;
    if (workflow.stages > 1) this.singleCalls.wentOn(nowMs);
    else
      this.singleCalls.began(workflow.deadlineMs - nowMs, serviceMs / Math.max(1e-3, serviceMs + remainingMs), nowMs);
  }

  /** A stage that a cluster had is over. */
  ended({ kind, workflow, startedAtMs }: QueuedStage, completed: boolean, fitsSeats: boolean, nowMs: number): void {
    this.inFlight -= 1;
    this.seatInterval.ended(nowMs, this.size > 0);
    if (!completed || !fitsSeats || kind !== 'interactive') return;
    this.singleCalls.ended(nowMs - startedAtMs, workflow.deadlineMs - workflow.arrivalMs, nowMs);
  }

  /**
   * Takes the seats that serve the queue. True when {@link loadStep} has changed. Where models take turns there are no floods: a key that only the length of the call decides would put this model behind all others.
   */
  updateLoad(seats: number, nowMs: number): boolean {
    const before = this.loadStep;
    if (this.takesTurns) this.singleCalls.flooded = false;
    else this.singleCalls.updateFlood(this.expectedWaitMs(nowMs));
    this.lengthSteps.update(this.size, seats);
    return this.loadStep !== before;
  }

  push(queued: QueuedStage): void {
    const queue = this.classOf(queued.kind);
    queue.of(queued).push(queued);
    queued.ageEntry = queue.byAge.push(queued, queued.enqueuedAtMs);
    queued.listIndex = this.waiting.length;
    this.waiting.push(queued);
    queued.place = 'queued';
  }

  /** Takes the stage out, from the order or from among the blocked. */
  remove(queued: QueuedStage): void {
    if (queued.place === 'blocked') {
      this.blocked.splice(this.blocked.indexOf(queued), 1);
      return;
    }
    const queue = this.classOf(queued.kind);
    queue.of(queued).remove(queued);
    queue.byAge.remove(queued.ageEntry!);
    queued.ageEntry = undefined;
    const last = this.waiting.pop()!;
    if (last !== queued) {
      this.waiting[queued.listIndex] = last;
      last.listIndex = queued.listIndex;
    }
    queued.listIndex = -1;
    this.rekeyLeft = Math.min(this.rekeyLeft, this.waiting.length);
  }

  /** Puts the stage where its key says now, among the fresh or the others. */
  rekey(queued: QueuedStage, fresh: boolean): void {
    const queue = this.classOf(queued.kind);
    if (fresh === queued.fresh) {
      queue.of(queued).rekey(queued);
      return;
    }
    queue.of(queued).remove(queued);
    queued.fresh = fresh;
    queue.of(queued).push(queued);
  }

  /**
   * The stage that should go next. `passed` is the stage it is let before out of turn, whose place among others it may claim.
   * Nobody while a blocked stage that has been passed for too long is waited for.
   */
  choose(
    nowMs: number,
    mayBegin: MayBegin,
  ): { readonly next: QueuedStage; readonly passed: QueuedStage | undefined } | undefined {
    const guards = this.guardCredit >= ONE;
    // The engine runs empty meanwhile, so this too has to keep within the share of the guard.
    if (guards && this.blocked.some((blocked) => this.isPassedTooLong(blocked, nowMs))) return undefined;
    const inOrder = this.interactive.first(mayBegin) ?? this.batch.first(mayBegin);
    // What has waited for too long goes whatever else may begin: nothing starves behind a full memory either.
    const overdue = guards ? this.oldestOverdue(nowMs) : undefined;
    if (overdue) return { next: overdue, passed: inOrder };
    if (!inOrder) return undefined;
    const batch = this.batchCredit >= ONE ? this.batch.first(mayBegin) : undefined;
    if (batch) return { next: batch, passed: inOrder };
    return { next: inOrder, passed: undefined };
  }

  /** The first in line does not fit anywhere yet: it stands aside and keeps its claim. False when enough stand there already. */
  block(queued: QueuedStage, nowMs: number): boolean {
    if (this.blocked.length >= MAX_BLOCKED) return false;
    this.remove(queued);
    queued.place = 'blocked';
    queued.blockedSinceMs = nowMs;
    this.blocked.push(queued);
    this.sortBlocked();
    return true;
  }

  /** Puts a stage that stands aside back in the order: its claim to what comes free was that of a place which it has no more. */
  unblock(queued: QueuedStage): void {
    this.remove(queued);
    this.push(queued);
  }

  /** Call it when keys of blocked stages have changed. */
  sortBlocked(): void {
    this.blocked.sort((a, b) => a.orderKey - b.orderKey);
  }

  /** Takes a chosen stage (or a blocked one) out to start it, and settles the shares. */
  take(queued: QueuedStage, nowMs: number): void {
    const { batchShare, guardShare } = this.discipline;
    const overdue = this.oldestOverdue(nowMs);
    const passed = this.blocked.filter((blocked) => this.isPassedTooLong(blocked, nowMs));
    if (overdue || passed.length > 0) this.guardCredit = Math.min(1 + guardShare, this.guardCredit + guardShare);
    if (this.batch.size > 0 && this.interactive.size > 0) {
      this.batchCredit = Math.min(1 + batchShare, this.batchCredit + batchShare);
    }
    const guarded = passed.length > 0 ? passed.includes(queued) : queued === overdue;
    if (this.guardCredit >= ONE && guarded) this.guardCredit -= 1;
    if (this.batchCredit >= ONE && queued.kind === 'batch') this.batchCredit -= 1;
    this.remove(queued);
    this.inFlight += 1;
    queued.startedAtMs = nowMs;
    const { order, fresh } = this.classOf(queued.kind);
    order.charge(queued.stage.tenant, queued.prediction.serviceMs);
    fresh.charge(queued.stage.tenant, queued.prediction.serviceMs);
  }

  /** Marks all waiting stages for a new key. */
  markForRekey(): void {
    this.rekeyLeft = this.waiting.length;
  }

  /** The next marked stage, so that a long queue can be given new keys a few at a time. */
  takeForRekey(): QueuedStage | undefined {
    if (this.rekeyLeft === 0) return undefined;
    this.rekeyLeft -= 1;
    return this.waiting[this.rekeyLeft];
  }

  /** Has a blocked stage been passed for as long as makes a waiting one overdue? One that is late already has nothing left to lose, so it waits as long as batch does. */
  private isPassedTooLong({ kind, workflow, blockedSinceMs }: QueuedStage, nowMs: number): boolean {
    const { interactiveOverdueMs, batchOverdueMs } = this.discipline;
    const patient = kind === 'batch' || nowMs > workflow.deadlineMs;
    return nowMs - blockedSinceMs >= (patient ? batchOverdueMs : interactiveOverdueMs);
  }

  private oldestOverdue(nowMs: number): QueuedStage | undefined {
    const { interactiveOverdueMs, batchOverdueMs } = this.discipline;
    const interactive = overdue(this.interactive, interactiveOverdueMs, nowMs);
    const batch = overdue(this.batch, batchOverdueMs, nowMs);
    if (!interactive || !batch) return interactive ?? batch;
    const lateness = (queued: QueuedStage, boundMs: number) => (nowMs - queued.enqueuedAtMs) / Math.max(1, boundMs);
    return lateness(interactive, interactiveOverdueMs) >= lateness(batch, batchOverdueMs) ? interactive : batch;
  }

  private classOf(kind: 'interactive' | 'batch'): ClassQueue {
    return kind === 'interactive' ? this.interactive : this.batch;
  }
}

function overdue(queue: ClassQueue, overdueMs: number, nowMs: number): QueuedStage | undefined {
  const oldest = queue.byAge.peek()?.value;
  return oldest && nowMs - oldest.enqueuedAtMs >= overdueMs ? oldest : undefined;
}
