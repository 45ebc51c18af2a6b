import type {
  DecisionRecord,
  EngineEndpoint,
  FleetSnapshot,
  Scheduling,
  ServedModel,
  StageHandle,
  StageListener,
} from '../bus/contract.js';
import { EarliestTimer } from '../bus/earliest-timer.js';
import { ServedNames } from '../bus/served-names.js';
import { soon } from '../bus/soon.js';
import { MAX_REQUEUES } from '../cluster/moving.js';
import type { ClusterService } from '../cluster/service.js';
import { ChurnMap } from '../model/churn-map.js';
import type { Clock, Timer } from '../model/clock.js';
import type { MaestroError } from '../model/error.js';
import type { Lease, PlaceExplanation, RequeueReason } from '../model/fleet.js';
import type { Prediction, SloClass, Stage, StageContext, StageOutcome } from '../model/stage.js';
import { noOutcomes, outcomeOf, outcomeOfOneAnswer, servedName } from '../model/stage.js';
import type { DecisionLog } from '../observe/decision-log.js';
import type { NextModels } from '../predict/next-models.js';
import type { OnlinePredictor } from '../predict/predictor.js';
import { engineAnswered } from './engine-answered.js';
import { enginesHung, noEngine, queueFull, waitedTooLong, whyNever } from './refusals.js';
import type { GlobalScheduler } from './scheduler.js';
import type { Dispatch } from './scheduler-types.js';
import { IDLE_CHECK_MS, type WorkflowTracker } from './tracker.js';
import { UnservedModels } from './unserved-models.js';

/** A stage whose engine refuses the connection is placed again this often, then it fails. */
const MAX_PLACEMENTS = 4;

/** A stage leaves engines that hang so often. The next one that does may do so because of the stage, which then fails. */
const MAX_HANGS = 2;

const NONE_EXCLUDED: ReadonlySet<string> = new Set();

const NO_ENGINE_CHECK_MS = 1_000;

export interface GlobalServiceOptions {
  readonly clock: Clock;
  readonly scheduler: GlobalScheduler;
  readonly tracker: WorkflowTracker;
  readonly predictor: OnlinePredictor;
  readonly nextModels: NextModels;
  readonly clusters: ReadonlyMap<string, ClusterService>;
  readonly classes: readonly SloClass[];
  readonly decisionLog: DecisionLog;
  /** Further names of served models. */
  readonly aliases: Readonly<Record<string, string>>;
  /** Is an engine of this model being started? Then its queue waits on. Absent: nobody starts engines. */
  readonly comesBack?: ((model: string) => boolean) | undefined;
  /** The part of a fleet snapshot that the nodes know. */
  readonly fleetState: () => Omit<FleetSnapshot, 'policy' | 'openWorkflows' | 'queued' | 'floods' | 'outcomes'>;
}

/**
 * Where a stage is on its way:
 * - `queued`: in the global order; - `placing`: dispatched to the cluster, perhaps held there; - `started`: an engine has it;
 * - `refused`: told that it will not run, which only the front door's `finish` is missing to end; - `ended`.
 */
type JobState = 'queued' | 'placing' | 'started' | 'refused' | 'ended';

interface Job {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly prediction: Prediction;
  readonly listener: StageListener;
  readonly record: DecisionRecord;
  excluded: ReadonlySet<string>;
  cluster: ClusterService | undefined;
  state: JobState;
  startedMs: number;
  /** How often it has made room for others, and how often it has left an engine that hung. */
  requeues: number;
  hangs: number;
}

/** Level 3, live: predicts, orders, dispatches and learns. In one process it is all that the front door sees of the levels. */
export class GlobalService implements Scheduling {
  private readonly jobs = new ChurnMap<Job>();
  private readonly outcomes = noOutcomes();
  private readonly clusters: ClusterService[] = [];
  private readonly names: ServedNames;
  private idleTimer: Timer | undefined;
  private hopelessTimer: Timer | undefined;
  private readonly unserved: UnservedModels;
  private pumpDue = false;
  private readonly expiryTimer: EarliestTimer;
  private closing = false;

  constructor(private readonly options: GlobalServiceOptions) {
    for (const cluster of options.clusters.values()) this.joinCluster(cluster);
    this.expiryTimer = new EarliestTimer(options.clock, () => this.expire());
    this.names = new ServedNames(() => this.clusters.map((cluster) => cluster.models()), options.aliases);
    this.unserved = new UnservedModels((name) => this.names.resolve(name), options.comesBack);
    this.endIdleWorkflows();
    this.rejectHopeless();
  }

  nowMs(): number {
    return this.options.clock.nowMs();
  }

  /** A further cluster, which {@link GlobalServiceOptions.clusters} has from now on. */
  joinCluster(cluster: ClusterService): void {
    this.clusters.push(cluster);
    cluster.onCapacity(() => this.pumpWaiting());
  }

  models(): readonly ServedModel[] {
    return this.names.all();
  }

  /** From now on these are the further names of served models. */
  rename(aliases: Readonly<Record<string, string>>): void {
    this.names.rename(aliases);
  }

  resolveModel(name: string): ServedModel | undefined {
    return this.names.resolve(name);
  }

  classes(): readonly SloClass[] {
    return this.options.classes;
  }

  readiness(): { ready: boolean; reason: string } {
    if (this.closing) return { ready: false, reason: 'shutting down' };
    const models = this.models();
    const up = models.filter((model) => model.enginesUp > 0).length;
    if (up === 0) return { ready: false, reason: 'no engine answers' };
    return { ready: true, reason: `${up} of ${models.length} models can be served` };
  }

  submit(stage: Stage, identitySource: string, listener: StageListener): StageHandle {
    const { clock, tracker, predictor, scheduler } = this.options;
    const nowMs = clock.nowMs();
    const context = tracker.begin(stage, nowMs);
    if (this.names.several) this.options.nextModels.stageBegan(stage, nowMs);
    const prediction = predictor.predict(stage, context);
    const job: Job = {
      stage,
      context,
      prediction,
      listener,
      record: { stage, identitySource, context, prediction, policy: scheduler.policyName, orderKey: 0, attempts: 0 },
      excluded: NONE_EXCLUDED,
      cluster: undefined,
      state: 'queued',
      startedMs: 0,
      requeues: 0,
      hangs: 0,
    };
    this.jobs.set(stage.stageId, job);
    const answer = scheduler.submit(stage, prediction, nowMs);
    if (answer.kind === 'queued') {
      job.record.orderKey = answer.orderKey;
      this.pumpSoon();
    } else {
      const error = queueFull(answer.reason, answer.retryAfterMs);
      // The front door does not have its handle yet.
      soon(() => this.refuse(job, error));
    }
    return {
      firstToken: () => job.cluster?.firstToken(stage.stageId),
      placeAgain: (refused) => this.placeAgain(job, refused),
      finish: (outcome) => this.finish(job, outcome),
    };
  }

  explain(stageId: string, tenant?: string): DecisionRecord | undefined {
    const { decisionLog } = this.options;
    if (stageId === 'last') return decisionLog.last(tenant);
    const record = this.jobs.get(stageId)?.record ?? decisionLog.get(stageId);
    return tenant === undefined || record?.stage.tenant === tenant ? record : undefined;
  }

  fleet(): FleetSnapshot {
    const { scheduler } = this.options;
    return {
      ...this.options.fleetState(),
      policy: scheduler.policyName,
      openWorkflows: this.options.tracker.size,
      queued: scheduler.queues.waiting(),
      floods: scheduler.queues.floods(),
      outcomes: { ...this.outcomes },
    };
  }

  /** Stages accepted and not yet ended. */
  get openStages(): number {
    return this.jobs.size;
  }

  close(): void {
    this.closing = true;
    this.expiryTimer.cancel();
    this.idleTimer?.cancel();
    this.hopelessTimer?.cancel();
  }

  /** Workflows that fell silent become history for the remaining work of others. */
  private endIdleWorkflows(): void {
    for (const workflowId of this.options.tracker.endIdle(this.nowMs())) this.workflowEnded(workflowId);
    this.options.nextModels.expire(this.nowMs());
    this.idleTimer = this.options.clock.after(IDLE_CHECK_MS, () => this.endIdleWorkflows());
  }

  private workflowEnded(workflowId: string): void {
    this.options.predictor.workflowEnded(workflowId);
    this.options.nextModels.workflowEnded(workflowId);
  }

  /** Nobody waits for an engine that does not come back: those who wait for a model or an adapter without engines are answered, at once where they have left the fleet, else after a grace. */
  private rejectHopeless(): void {
    const nowMs = this.nowMs();
    const { scheduler } = this.options;
    const queued = scheduler.queued === 0 ? [] : this.queuedJobs();
    for (const job of this.unserved.hopeless(queued, nowMs)) {
      scheduler.cancel(job.stage.stageId, nowMs);
      this.refuse(job, noEngine(servedName(job.stage), this.unserved.prospectOfStage(job.stage), 'no-engine'));
    }
    scheduler.queues.forgetUnserved(this.unserved.prospectOf);
    this.hopelessTimer = this.options.clock.after(NO_ENGINE_CHECK_MS, () => this.rejectHopeless());
  }

  private queuedJobs(): Job[] {
    return [...this.jobs.values()].filter(({ state }) => state === 'queued');
  }

  /** What may start those who wait is of no interest while nobody does. */
  private pumpWaiting(): void {
    if (this.options.scheduler.queued > 0) this.pumpSoon();
  }

  /** Several submissions and capacity changes of one turn are dispatched together, in order. */
  private pumpSoon(): void {
    if (this.pumpDue) return;
    this.pumpDue = true;
    soon(this.pump);
  }

  private readonly pump = (): void => {
    this.pumpDue = false;
    const { scheduler, clock } = this.options;
    const nowMs = clock.nowMs();
    for (const cluster of this.options.clusters.values()) {
      const changes = cluster.capacityChanges(nowMs);
      if (changes) scheduler.capacityChanged(changes);
    }
    for (const dispatch of scheduler.dispatch(nowMs)) this.dispatch(dispatch, nowMs);
    this.expiryTimer.by(scheduler.nextExpiryMs(), nowMs);
  };

  private dispatch(dispatch: Dispatch, nowMs: number): void {
    const job = this.jobs.get(dispatch.stageId);
    if (!job) return;
    const cluster = this.options.clusters.get(dispatch.clusterId);
    if (!cluster) throw new Error(`dispatched to unknown cluster ${dispatch.clusterId}`);
    job.cluster = cluster;
    job.state = 'placing';
    job.record.orderKey = dispatch.orderKey;
    job.record.attempts += 1;
    cluster.place(job.stage, job.prediction, dispatch, job.excluded, nowMs, {
      started: (lease, endpoint, explanation) => this.started(job, dispatch, lease, endpoint, explanation),
      bounced: (reason, explanation) => this.bounced(job, reason, explanation),
      requeue: (reason) => this.requeue(job, reason),
    });
  }

  private started(
    job: Job,
    dispatch: Dispatch,
    lease: Lease,
    endpoint: EngineEndpoint,
    explanation: PlaceExplanation,
  ): void {
    if (job.state !== 'placing') return;
    const nowMs = this.nowMs();
    const { record, stage } = job;
    job.state = 'started';
    job.startedMs = nowMs;
    record.placement = explanation;
    record.engineId = lease.engineId;
    record.nodeId = lease.nodeId;
    record.rank = lease.rank;
    // The wait for weights is told apart from the wait for a turn.
    record.queueMs = Math.max(0, nowMs - stage.arrivalMs - lease.coldStartMs);
    record.coldStartMs = lease.coldStartMs;
    job.listener.onStart({
      engineId: lease.engineId,
      nodeId: lease.nodeId,
      dataPath: endpoint.dataPath,
      upstreamModel: stage.adapter ?? endpoint.upstreamModel,
      rank: lease.rank,
      priority: dispatch.priority,
      queueMs: record.queueMs,
      coldStartMs: lease.coldStartMs,
      policy: record.policy,
    });
  }

  private bounced(job: Job, reason: string, explanation: PlaceExplanation): void {
    if (job.state !== 'placing') return;
    job.record.placement = explanation;
    // Every engine has been tried: look at all of them afresh next time.
    job.excluded = NONE_EXCLUDED;
    const { stage, prediction } = job;
    const has = (engineId: string) => this.clusters.some((each) => each.has(engineId));
    const prospect = this.unserved.prospectOfStage(stage);
    // Engines without the adapter have room, so a stage comes here at once that would else wait in the queue for the grace.
    const waits = stage.adapter !== undefined && prospect === 'down';
    const error = whyNever(stage, prediction.kvTokens.bound, reason, waits ? 'served' : prospect, has);
    if (error) {
      this.refuse(job, error);
      return;
    }
    job.state = 'queued';
    this.options.scheduler.requeue(job.stage.stageId, this.nowMs());
  }

  private refuse(job: Job, error: MaestroError): void {
    if (job.state === 'ended') return;
    job.state = 'refused';
    job.listener.onReject(error);
  }

  /** A batch stage makes room, or a stage leaves an engine that hangs, if its client has heard nothing of it yet. */
  private requeue(job: Job, reason: RequeueReason): boolean {
    if (job.state !== 'started' || this.closing) return false;
    if (reason === 'makes-room' && job.requeues >= MAX_REQUEUES) return false;
    if (!job.listener.onRequeue()) return false;
    if (reason === 'makes-room') job.requeues += 1;
    else if (job.hangs < MAX_HANGS) job.hangs += 1;
    else {
      this.refuse(job, enginesHung(job.hangs + 1));
      return true;
    }
    job.state = 'queued';
    this.options.scheduler.requeue(job.stage.stageId, this.nowMs());
    this.pumpSoon();
    return true;
  }

  private placeAgain(job: Job, refused: boolean): boolean {
    if (job.state !== 'started' || this.closing) return false;
    const { scheduler } = this.options;
    const failed = job.record.engineId;
    job.cluster?.engineUnreachable(job.stage.stageId, refused);
    if (job.record.attempts >= MAX_PLACEMENTS) return false;
    if (failed) job.excluded = new Set(job.excluded).add(failed);
    job.state = 'queued';
    scheduler.requeue(job.stage.stageId, this.nowMs());
    this.pumpSoon();
    return true;
  }

  private finish(job: Job, outcome: StageOutcome): void {
    if (job.state === 'ended') return;
    const { scheduler, tracker, predictor, decisionLog } = this.options;
    const { stage, context, record } = job;
    const nowMs = this.nowMs();
    const ran = job.state === 'started';
    job.state = 'ended';
    this.jobs.delete(stage.stageId);
    const { promptTokens, cachedTokens, outputTokens } = outcome;
    const usage = { promptTokens, cachedTokens, outputTokens, completed: outcome.kind === 'completed' };
    job.cluster?.finish(stage.stageId, usage, nowMs, engineAnswered(outcome));
    const settled = ran ? outcomeOf(outcome, outcome, nowMs - job.startedMs) : outcome;
    const learned = outcomeOfOneAnswer(stage, settled);
    if (ran) {
      const keep = scheduler.complete(stage.stageId, learned, nowMs);
      if (keep) job.cluster?.keep(record.nodeId!, record.engineId!, { ...keep, rank: record.rank });
      predictor.observe(stage, context, learned);
    } else {
      scheduler.cancel(stage.stageId, nowMs);
    }
    const isOver = tracker.end(stage, learned, nowMs);
    if (this.names.several) this.options.nextModels.stageEnded(stage, settled.kind === 'completed', nowMs);
    if (isOver) this.workflowEnded(stage.workflowId);
    this.outcomes[settled.kind] += 1;
    record.outcome = settled;
    decisionLog.close(record, nowMs);
    this.pumpWaiting();
  }

  private expire(): void {
    const nowMs = this.nowMs();
    for (const stageId of this.options.scheduler.expire(nowMs)) {
      const job = this.jobs.get(stageId);
      if (!job || job.state === 'ended') continue;
      this.refuse(job, waitedTooLong(nowMs - job.stage.arrivalMs));
    }
    this.pumpSoon();
  }
}
