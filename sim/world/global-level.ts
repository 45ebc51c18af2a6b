import type { KnownQueues } from '../../src/global/model-queue.js';
import type { Foresight, OrderingPolicy } from '../../src/global/order/policy.js';
import { createRetention, enginePoolTokensOf } from '../../src/global/retention/retention.js';
import { GlobalScheduler } from '../../src/global/scheduler.js';
import type { Dispatch, SubmitResult } from '../../src/global/scheduler-types.js';
import { modelsTakingTurns } from '../../src/global/taking-turns.js';
import { WorkflowTracker } from '../../src/global/tracker.js';
import { kvPoolTokensOf } from '../../src/global/working-set.js';
import type { CapacityChanges, EngineSpec, KeptContext } from '../../src/model/fleet.js';
import type { StageContext, StageOutcome } from '../../src/model/stage.js';
import type { EventLoop, Scheduled } from '../event-loop.js';
import type { SimScenario } from '../types.js';
import type { Job } from './job.js';
import type { Predictions } from './predictions.js';

export interface GlobalListener {
  dispatched(dispatch: Dispatch): void;
  expired(stageId: string): void;
  keep(job: Job, keep: KeptContext): void;
  /** Stages are about to be dispatched: news of capacity that has been kept back is to be told now. */
  newsWanted(): void;
}

/** Where nothing else is asked for, what waits waits until it is served: a benchmark counts a late workflow as late, not as turned away. */
const NO_TIMEOUTS = { interactiveTimeoutMs: Number.POSITIVE_INFINITY, batchTimeoutMs: Number.POSITIVE_INFINITY };

/** Level 3 in virtual time: the twin of the live global service. Its process can die, with all that it knew of stages and workflows, and another take its place. */
export class GlobalLevel {
  private scheduler: GlobalScheduler;
  private tracker: WorkflowTracker;
  private policy: OrderingPolicy;
  /** Counts processes. */
  incarnation = 0;
  up = true;
  private pumpDue = false;
  private expiry: Scheduled | undefined;
  private expiryMs = Number.POSITIVE_INFINITY;
  private readonly kvPoolTokens: ReadonlyMap<string, number>;
  private readonly runPump = () => this.pump();

  constructor(
    private readonly scenario: SimScenario,
    private readonly predictions: Predictions,
    private readonly foresight: ((stageId: string) => Foresight | undefined) | undefined,
    private readonly loop: EventLoop,
    private readonly listener: GlobalListener,
  ) {
    this.policy = scenario.policy;
    // Contexts are counted where a policy holds workflows back by them; a controller may change to one that does.
    const counts = scenario.policy.kvShare !== undefined || scenario.controller !== undefined;
    this.kvPoolTokens = counts ? kvPoolTokensOf(enginesOf(scenario.nodes)) : new Map();
    this.tracker = newTracker();
    this.scheduler = this.newScheduler();
  }

  /** Tells the tracker of a stage; what is known of its workflow is what the predictor sees. */
  begin({ stage, run }: Pick<Job, 'stage' | 'run'>): StageContext {
    const context = this.tracker.begin(stage, this.loop.nowMs);
    if (context.stageIndex === 0 && run.arrival.before) this.tracker.resume(stage.workflowId, run.arrival.before);
    return context;
  }

  submit({ stage, prediction }: Job): SubmitResult {
    const result = this.scheduler.submit(stage, prediction, this.loop.nowMs);
    if (result.kind === 'queued') this.pumpSoon();
    return result;
  }

  requeue(stageId: string): void {
    this.scheduler.requeue(stageId, this.loop.nowMs);
    this.pumpSoon();
  }

  /** A stage is over. While no process is there, nobody learns of it. */
  ended(job: Job, outcome: StageOutcome, ran: boolean): void {
    if (!this.up) return;
    const { stage, context } = job;
    const { scheduler, tracker, predictions } = this;
    const { nowMs } = this.loop;
    if (ran) {
      const keep = scheduler.complete(stage.stageId, outcome, nowMs);
      if (keep) this.listener.keep(job, keep);
      predictions.observe(stage, context, outcome);
    } else scheduler.cancel(stage.stageId, nowMs);
    const isOver = tracker.end(stage, outcome, nowMs);
    predictions.nextModels?.stageEnded(stage, outcome.kind === 'completed', nowMs);
    if (isOver) predictions.workflowEnded(stage.workflowId);
    this.pumpIfWaiting();
  }

  capacityChanged(changes: CapacityChanges): void {
    if (!this.up) return;
    this.scheduler.capacityChanged(changes);
    this.pumpIfWaiting();
  }

  endIdleWorkflows(): void {
    const { nowMs } = this.loop;
    for (const workflowId of this.tracker.endIdle(nowMs)) this.predictions.workflowEnded(workflowId);
    this.predictions.nextModels?.expire(nowMs);
  }

  /** Does anybody wait here? */
  get waits(): boolean {
    return this.scheduler.queued > 0;
  }

  /** Stages of the model that wait here; none while no process is there. */
  waitingFor(model: string): ReturnType<GlobalScheduler['waitingFor']> {
    return this.up ? this.scheduler.waitingFor(model) : undefined;
  }

  setPolicy(policy: OrderingPolicy): void {
    this.policy = policy;
    this.scheduler.setPolicy(policy, this.loop.nowMs);
    this.pumpSoon();
  }

  /** The process dies. */
  stop(): void {
    this.up = false;
    this.incarnation += 1;
    this.loop.cancel(this.expiry);
    this.expiryMs = Number.POSITIVE_INFINITY;
  }

  /** Another process takes over, with the policy and the saved statistics of the first, and nothing else. */
  start(): void {
    this.up = true;
    this.tracker = newTracker();
    this.scheduler = this.newScheduler();
  }

  /** What the scheduler has learnt of its queues. */
  knownQueues(): KnownQueues['byModel'] {
    return this.scheduler.queues.known();
  }

  private newScheduler(): GlobalScheduler {
    const { classes, controller, node, nodes, queue, serviceTimeMs } = this.scenario;
    return new GlobalScheduler(
      {
        ...{ policy: this.policy, classes, foresight: this.foresight, kvPoolTokens: this.kvPoolTokens },
        modelsTakingTurns: modelsTakingTurns(nodes),
        ...{ maxCount: 1_000_000, maxCountPerTenant: 1_000_000, maxBytes: Number.MAX_SAFE_INTEGER },
        ...NO_TIMEOUTS,
        ...queue,
        traffic: controller?.traffic,
        known: this.scenario.known,
        retention: createRetention(node?.retention ?? 'rent', enginePoolTokensOf(enginesOf(nodes)), serviceTimeMs),
      },
      this.tracker,
    );
  }

  /** Room alone moves nothing where nobody waits. */
  private pumpIfWaiting(): void {
    if (this.waits) this.pumpSoon();
  }

  private pumpSoon(): void {
    if (this.pumpDue) return;
    this.pumpDue = true;
    this.loop.soon(this.runPump);
  }

  private pump(): void {
    this.pumpDue = false;
    const { scheduler, loop } = this;
    if (!this.up) return;
    this.listener.newsWanted();
    for (const dispatch of scheduler.dispatch(loop.nowMs)) this.listener.dispatched(dispatch);
    const nextMs = scheduler.nextExpiryMs();
    if (nextMs >= this.expiryMs) return;
    loop.cancel(this.expiry);
    this.expiryMs = nextMs;
    this.expiry = loop.at(nextMs, () => {
      this.expiryMs = Number.POSITIVE_INFINITY;
      for (const stageId of scheduler.expire(loop.nowMs)) this.listener.expired(stageId);
      this.pumpSoon();
    });
  }
}

function newTracker(): WorkflowTracker {
  return new WorkflowTracker({ maxWorkflows: 1_000_000 });
}

function enginesOf(nodes: SimScenario['nodes']): EngineSpec[] {
  return nodes.flatMap(({ engines }) => engines);
}
