import type { Foresight } from '../../src/global/order/policy.js';
import { GlobalScheduler } from '../../src/global/scheduler.js';
import type { Dispatch } from '../../src/global/scheduler-types.js';
import { WorkflowTracker } from '../../src/global/tracker.js';
import { kvPoolTokensOf } from '../../src/global/working-set.js';
import { ChurnMap } from '../../src/model/churn-map.js';
import type { OutcomeKind, StageOutcome } from '../../src/model/stage.js';
import { MINUTE_MS } from '../../src/model/units.js';
import type { TraceRow } from '../../traces/schema.js';
import { EventLoop } from '../event-loop.js';
import type { Arrival, SimResult, SimScenario } from '../types.js';
import { type ClusterListener, SimCluster } from './cluster.js';
import { planFaults } from './faults.js';
import { sleepersOf } from './first-state.js';
import type { Job } from './job.js';
import { type NodeListener, SimNode } from './node.js';
import { Predictions } from './predictions.js';
import { Recorder } from './recorder.js';
import { completeStage, openRun, type ReadyStage, type Run, rootsOf } from './runs.js';
import { engineBlocks, stageOf } from './stages.js';

/** As the live system: a workflow that has been silent for so long counts as over. */
const WORKFLOW_IDLE_MS = 3 * MINUTE_MS;
const IDLE_CHECK_MS = 5_000;

/** The whole house in virtual time: gateway and global level here, clusters and nodes below. Decisions are those of `src`; this only carries events to them. */
export class World implements NodeListener, ClusterListener {
  private readonly loop = new EventLoop();
  private readonly scheduler: GlobalScheduler;
  private readonly tracker = new WorkflowTracker({ idleMs: WORKFLOW_IDLE_MS, maxWorkflows: 1_000_000 });
  private readonly predictions: Predictions;
  private readonly clusters = new Map<string, SimCluster>();
  private readonly nodes: SimNode[] = [];
  private readonly clusterOf = new Map<SimNode, SimCluster>();
  private readonly jobs = new ChurnMap<Job>();
  private readonly weights: ReadonlyMap<string, number>;
  private readonly maxModelLen = new Map<string, number>();
  private readonly recorder: Recorder;
  /** In no order: the last takes the place of one that leaves. A set under such churn would keep what has left alive. */
  private readonly openRuns: Run[] = [];
  private arrivals: Iterator<Arrival>;
  private arrivalsLeft = true;
  private sequence = 0;
  private pumpDue = false;
  private expiry: ReturnType<EventLoop['at']> | undefined;
  private expiryMs = Number.POSITIVE_INFINITY;

  constructor(private readonly scenario: SimScenario) {
    const { nodes, classes, policy, placement, lookAhead, minResidencyMs, rttMs } = scenario;
    this.predictions = new Predictions(scenario);
    // The one door to the future: only what is named oracle gets through it.
    const foresight = policy.name.startsWith('oracle-') ? (stageId: string) => this.truthOf(stageId) : undefined;
    this.scheduler = new GlobalScheduler(
      {
        policy,
        classes,
        maxCount: 1_000_000,
        maxCountPerTenant: 1_000_000,
        maxBytes: Number.MAX_SAFE_INTEGER,
        foresight,
        kvPoolTokens: kvPoolTokensOf(nodes),
        traffic: scenario.controller?.traffic,
        ...NO_TIMEOUTS,
      },
      this.tracker,
    );
    this.weights = new Map(classes.map(({ name, weight }) => [name, weight]));
    this.arrivals = scenario.arrivals[Symbol.iterator]();
    const interactive = new Set(classes.filter(({ kind }) => kind === 'interactive').map(({ name }) => name));
    for (const spec of nodes) {
      let cluster = this.clusters.get(spec.clusterId);
      if (!cluster) {
        cluster = new SimCluster(
          spec.clusterId,
          rttMs[spec.clusterId] ?? 0,
          placement,
          lookAhead,
          interactive,
          this.loop,
          this,
        );
        this.clusters.set(spec.clusterId, cluster);
      }
      const node = new SimNode(
        spec,
        { lookAhead, minResidencyMs },
        this.loop,
        this,
        sleepersOf(spec.engines, spec.gpus),
      );
      cluster.add(node);
      this.nodes.push(node);
      this.clusterOf.set(node, cluster);
      for (const engine of spec.engines) {
        const known = this.maxModelLen.get(engine.model) ?? 0;
        this.maxModelLen.set(engine.model, Math.max(known, engine.maxModelLen));
      }
    }
    this.recorder = new Recorder(scenario, this.nodes, this.loop);
  }

  run(): SimResult {
    const { loop, scenario } = this;
    this.nextArrival();
    planFaults(scenario.faults, scenario.nodes, loop, (engineId, downMs) => this.crash(engineId, downMs));
    this.endIdleWorkflows();
    this.runController();
    this.recorder.begin(() => this.busy);
    loop.run(scenario.horizonMs);
    for (const run of this.openRuns) this.recorder.workflow(run);
    return this.recorder.result(this.left());
  }

  /** Something is under way or still to come. */
  private get busy(): boolean {
    return this.arrivalsLeft || this.openRuns.length > 0;
  }

  private left(): number {
    let left = this.jobs.size;
    for (const { manager } of this.nodes) {
      const { leases, holds } = manager.stats();
      left += leases + holds;
    }
    return left;
  }

  private nextArrival(): void {
    const next = this.arrivals.next();
    if (next.done) {
      this.arrivalsLeft = false;
      return;
    }
    this.loop.at(next.value.atMs, () => {
      this.arrive(next.value);
      this.nextArrival();
    });
  }

  private arrive(arrival: Arrival): void {
    const run = openRun(arrival);
    run.slot = this.openRuns.push(run) - 1;
    this.scenario.controller?.arrived?.(arrival, this.loop.nowMs);
    this.startAll(run, rootsOf(run));
  }

  private startAll(run: Run, ready: readonly ReadyStage[]): void {
    for (const { row, delayMs } of ready) {
      run.inFlight += 1;
      if (delayMs > 0) this.loop.after(delayMs, () => this.submit(run, row));
      else this.submit(run, row);
    }
  }

  /** The gateway's part: describe, predict, hand to the global level. */
  private submit(run: Run, row: TraceRow): void {
    const { nowMs } = this.loop;
    if (run.record.error !== undefined) {
      this.stageOver(run);
      return;
    }
    const limits = { maxModelLen: this.maxModelLen.get(row.model ?? 'default') ?? 0 };
    const stageId = `s${this.sequence++}`;
    const stage = stageOf(run, row, stageId, this.weights.get(run.record.sloClass) ?? 1, limits, nowMs);
    const outputTokens = Math.max(1, Math.min(row.output_length, stage.maxTokens));
    const context = this.tracker.begin(stage, nowMs);
    if (context.stageIndex === 0 && run.arrival.before) this.tracker.resume(stage.workflowId, run.arrival.before);
    const prediction = this.predictions.predict(stage, context, run, row, outputTokens);
    const job: Job = {
      stage,
      context,
      prediction,
      run,
      row,
      outputTokens,
      state: 'queued',
      cluster: undefined,
      node: undefined,
      engineId: undefined,
      orderKey: 0,
      priority: 0,
      excluded: undefined,
      waitTimer: undefined,
      startedMs: 0,
      coldStartMs: 0,
      firstTokenMs: undefined,
      cachedTokens: 0,
    };
    this.jobs.set(stageId, job);
    if (limits.maxModelLen <= stage.promptTokens) {
      this.end(job, 'rejected', 'too-large');
      return;
    }
    const result = this.scheduler.submit(stage, context, prediction, nowMs);
    if (result.kind === 'rejected') this.end(job, 'rejected', result.reason);
    else this.pumpSoon();
  }

  private truthOf(stageId: string): Foresight | undefined {
    const job = this.jobs.get(stageId);
    return job && this.predictions.foresight(job.run, job.row, job.outputTokens);
  }

  private pumpSoon(): void {
    if (this.pumpDue) return;
    this.pumpDue = true;
    this.loop.soon(() => this.pump());
  }

  private pump(): void {
    this.pumpDue = false;
    const { scheduler, loop } = this;
    for (const dispatch of scheduler.dispatch(loop.nowMs)) this.dispatch(dispatch);
    const nextMs = scheduler.nextExpiryMs();
    if (nextMs >= this.expiryMs) return;
    loop.cancel(this.expiry);
    this.expiryMs = nextMs;
    this.expiry = loop.at(nextMs, () => {
      this.expiryMs = Number.POSITIVE_INFINITY;
      for (const stageId of scheduler.expire(loop.nowMs)) {
        const job = this.jobs.get(stageId);
        if (job) this.end(job, 'rejected', 'queue-timeout');
      }
      this.pumpSoon();
    });
  }

  private dispatch({ stageId, clusterId, orderKey, priority }: Dispatch): void {
    const job = this.jobs.get(stageId);
    if (!job) return;
    const cluster = this.clusters.get(clusterId)!;
    job.cluster = cluster;
    job.orderKey = orderKey;
    job.priority = priority;
    job.state = 'placing';
    if (cluster.rttMs === 0) cluster.place(job);
    else this.loop.after(cluster.rttMs / 2, () => job.state === 'placing' && cluster.place(job));
  }

  capacityChanged(cluster: SimCluster): void {
    const tell = () => {
      this.scheduler.capacityChanged(cluster.router.capacityChanges(this.loop.nowMs));
      this.pumpSoon();
    };
    if (cluster.rttMs === 0) tell();
    else this.loop.after(cluster.rttMs / 2, tell);
  }

  started(job: Job, coldStartMs: number): void {
    job.state = 'running';
    job.startedMs = this.loop.nowMs;
    job.coldStartMs = coldStartMs;
    job.node!.engine(job.engineId!).add({
      stageId: job.stage.stageId,
      promptTokens: job.stage.promptTokens,
      outputTokens: job.outputTokens,
      priority: job.priority,
      blockHashes: engineBlocks(job.row),
    });
  }

  bounced(job: Job, reason: string): void {
    job.excluded = undefined;
    if (reason === 'too-large' || reason === 'unknown-model') {
      this.end(job, 'rejected', reason);
      return;
    }
    job.state = 'queued';
    this.scheduler.requeue(job.stage.stageId, this.loop.nowMs);
    this.pumpSoon();
  }

  granted(stageId: string, _engineId: string, coldStartMs: number): void {
    const job = this.jobs.get(stageId);
    if (job?.state === 'held') job.cluster!.granted(job, coldStartMs);
  }

  released(stageId: string, engineId: string): void {
    const job = this.jobs.get(stageId);
    if (job?.state === 'held' && job.engineId === engineId) job.cluster!.released(job);
  }

  changed(node: SimNode, engineIds: readonly string[]): void {
    this.clusterOf.get(node)!.absorb(node, engineIds);
  }

  firstToken(stageId: string, cachedTokens: number): void {
    const job = this.jobs.get(stageId);
    if (!job) return;
    job.firstTokenMs = this.loop.nowMs;
    job.cachedTokens = cachedTokens;
    job.node!.firstToken(stageId);
  }

  finished(stageId: string, _outputTokens: number, _cachedTokens: number): void {
    const job = this.jobs.get(stageId);
    if (!job) return;
    const { rttMs } = job.cluster!;
    job.cluster!.finish(job, { promptTokens: job.stage.promptTokens, outputTokens: job.outputTokens });
    if (rttMs === 0) this.end(job, 'completed');
    else this.loop.after(rttMs / 2, () => this.end(job, 'completed'));
  }

  /** The stage is over, however it ended: everybody learns of it, and its workflow goes on or fails. */
  private end(job: Job, kind: OutcomeKind, reason?: string): void {
    if (job.state === 'ended') return;
    const { nowMs } = this.loop;
    const { stage, context, run, row } = job;
    const ran = job.state === 'running';
    if (kind !== 'completed' && job.cluster && (ran || job.state === 'held')) job.cluster.finish(job, {});
    job.state = 'ended';
    this.jobs.delete(stage.stageId);
    const completed = kind === 'completed';
    const outcome: StageOutcome = {
      kind,
      reason,
      httpStatus: completed ? 200 : 500,
      durationMs: nowMs - stage.arrivalMs,
      ...(completed
        ? {
            promptTokens: stage.promptTokens,
            cachedTokens: job.cachedTokens,
            outputTokens: job.outputTokens,
            finishReason: job.outputTokens === stage.maxTokens ? 'length' : 'stop',
            toolCalled: row.tool_called,
            ttftMs: job.firstTokenMs! - stage.arrivalMs,
            serviceMs: nowMs - job.startedMs,
          }
        : {}),
    };
    if (ran) {
      this.scheduler.complete(stage.stageId, outcome, nowMs);
      this.predictions.observe(stage, context, outcome);
    } else this.scheduler.cancel(stage.stageId, nowMs);
    this.tracker.end(stage, outcome, nowMs);
    if (stage.finalStage && this.tracker.finishWorkflow(stage.workflowId)) {
      this.predictions.workflowEnded(stage.workflowId);
    }
    this.recorder.stage(job, outcome);
    if (completed) this.startAll(run, completeStage(run, row));
    else run.record.error ??= `${row.request_id}: ${kind}${reason === undefined ? '' : ` (${reason})`}`;
    this.stageOver(run);
    this.pumpSoon();
  }

  /** One stage fewer is under way; the workflow may be over. */
  private stageOver(run: Run): void {
    run.inFlight -= 1;
    const { record } = run;
    if (run.left > 0 && (record.error === undefined || run.inFlight > 0)) return;
    const { nowMs } = this.loop;
    record.completed = run.left === 0;
    record.endMs = nowMs;
    record.met = record.completed && nowMs <= record.deadlineMs;
    const last = this.openRuns.pop()!;
    if (last !== run) {
      this.openRuns[run.slot] = last;
      last.slot = run.slot;
    }
    this.recorder.workflow(run);
    if (!this.busy) this.loop.stop();
  }

  private endIdleWorkflows(): void {
    this.loop.after(IDLE_CHECK_MS, () => {
      for (const workflowId of this.tracker.endIdle(this.loop.nowMs)) this.predictions.workflowEnded(workflowId);
      if (this.busy) this.endIdleWorkflows();
    });
  }

  private runController(): void {
    const { controller } = this.scenario;
    if (!controller) return;
    this.loop.after(controller.intervalMs, () => {
      const policy = controller.tick(this.loop.nowMs);
      if (policy) {
        this.scheduler.setPolicy(policy, this.loop.nowMs);
        this.pumpSoon();
      }
      if (this.busy) this.runController();
    });
  }

  private crash(engineId: string, downMs: number): void {
    const node = this.nodes.find(({ spec }) => spec.engines.some((engine) => engine.engineId === engineId));
    if (!node) return;
    const lost = [...this.jobs].flatMap(([, job]) => (job.state === 'running' && job.engineId === engineId ? job : []));
    node.crash(engineId, downMs);
    for (const job of lost) this.end(job, 'engine_failed', 'connection-lost');
  }
}

/** What waits waits until it is served: a benchmark counts a late workflow as late, not as turned away. */
const NO_TIMEOUTS = { interactiveTimeoutMs: 1e15, batchTimeoutMs: 1e15 };
