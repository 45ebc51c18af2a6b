import { MAX_REQUEUES } from '../../src/cluster/moving.js';
import type { Foresight } from '../../src/global/order/policy.js';
import type { Dispatch } from '../../src/global/scheduler-types.js';
import { IDLE_CHECK_MS } from '../../src/global/tracker.js';
import { ChurnMap } from '../../src/model/churn-map.js';
import type { KeptContext } from '../../src/model/fleet.js';
import type { OutcomeKind, SloClass } from '../../src/model/stage.js';
import type { TraceRow } from '../../traces/schema.js';
import { isRoot } from '../../traces/workflow.js';
import { EventLoop } from '../event-loop.js';
import type { Arrival, SimResult, SimScenario } from '../types.js';
import { Arrivals } from './arrivals.js';
import { CapacityNews } from './capacity-news.js';
import type { ClusterListener, SimCluster } from './cluster.js';
import { planFaults } from './faults.js';
import { buildFleet, type SimFleet } from './fleet.js';
import { GlobalLevel, type GlobalListener } from './global-level.js';
import { type Job, newJob, outcomeOf } from './job.js';
import type { Link } from './link.js';
import { NextUses } from './next-uses.js';
import type { NodeListener, SimNode } from './node.js';
import { nodeConfigOf } from './node-config.js';
import { OpenRuns } from './open-runs.js';
import { Predictions } from './predictions.js';
import { Recorder } from './recorder.js';
import { completeStage, openRun, type Run, rootDelayMs } from './runs.js';
import { engineBlocks, stageOf } from './stages.js';

/** A class that is not among those of the scenario counts as the scheduler counts it. */
const UNKNOWN_CLASS: Pick<SloClass, 'weight' | 'kind'> = { weight: 1, kind: 'interactive' };

/**
 * The whole house in virtual time: clients and gateway here, the three levels below. Decisions are those of `src`; this only carries events to them. What is sent over a link that takes
 * time has a function of its own (`send…`): what a closure captures is allocated whenever the function around it is called, also where nothing is sent.
 */
export class World implements NodeListener, ClusterListener, GlobalListener {
  private readonly loop = new EventLoop();
  private readonly predictions: Predictions;
  private readonly global: GlobalLevel;
  private readonly fleet: SimFleet;
  private readonly jobs = new ChurnMap<Job>();
  private readonly classes: ReadonlyMap<string, SloClass>;
  private readonly recorder: Recorder;
  private readonly openRuns = new OpenRuns();
  private readonly news: CapacityNews;
  private readonly arrivals: Arrivals;
  private sequence = 0;
  private readonly nextUses: NextUses | undefined;
  /** Stages that came while no process of the global level was there. */
  private kept: { readonly run: Run; readonly row: TraceRow }[] = [];

  constructor(private readonly scenario: SimScenario) {
    this.predictions = new Predictions(scenario);
    // The one door to the future: only what is named oracle gets through it.
    const clairvoyant = scenario.policy.name.startsWith('oracle-');
    const foresight = clairvoyant ? (stageId: string) => this.truthOf(stageId) : undefined;
    this.global = new GlobalLevel(scenario, this.predictions, foresight, this.loop, this);
    this.news = new CapacityNews(this.global, this.loop);
    this.classes = new Map(scenario.classes.map((each) => [each.name, each]));
    this.arrivals = new Arrivals(scenario.arrivals, this.loop, (arrival) => this.arrive(arrival));
    if (scenario.node?.weights === 'oracle-residency') {
      this.nextUses = new NextUses(scenario.arrivals, scenario.serviceTimeMs);
    }
    const nextUseInMs = (model: string) => this.nextUses?.inMs(model, this.loop.nowMs);
    const nodeConfig = nodeConfigOf(scenario, this.global, this.predictions.nextModels, nextUseInMs);
    this.fleet = buildFleet(scenario, nodeConfig, this.loop, this);
    this.recorder = new Recorder(scenario, this.fleet.nodes, this.loop);
  }

  run(): SimResult {
    const { loop, scenario } = this;
    this.arrivals.next();
    planFaults(
      scenario.faults,
      scenario.nodes,
      loop,
      (engineId, downMs) => this.crash(engineId, downMs),
      (downMs) => this.restartController(downMs),
    );
    this.endIdleWorkflows();
    this.runController();
    this.recorder.begin(() => this.busy);
    loop.run(scenario.horizonMs);
    for (const run of this.openRuns.all()) this.recorder.workflow(run);
    return this.recorder.result(this.left());
  }

  /** Something is under way or still to come. */
  private get busy(): boolean {
    return this.arrivals.left || this.openRuns.size > 0;
  }

  private left(): number {
    let left = this.jobs.size;
    for (const { manager } of this.fleet.nodes) {
      const { leases, holds } = manager.stats();
      left += leases + holds;
    }
    return left;
  }

  private arrive(arrival: Arrival): void {
    const run = openRun(arrival);
    this.openRuns.add(run);
    this.nextUses?.opened(run);
    this.scenario.controller?.arrived?.(arrival, this.loop.nowMs);
    // One that is refused at once must not end the run before the others have begun.
    run.inFlight += 1;
    for (const row of arrival.workflow.rows) if (isRoot(row)) this.start(run, row, rootDelayMs(run, row));
    this.stageOver(run);
  }

  private start(run: Run, row: TraceRow, delayMs: number): void {
    run.inFlight += 1;
    if (delayMs > 0) this.startLater(run, row, delayMs);
    else this.submit(run, row);
  }

  private startLater(run: Run, row: TraceRow, delayMs: number): void {
    this.loop.after(delayMs, () => this.submit(run, row));
  }

  /** The gateway's part: describe, predict, hand to the global level. */
  private submit(run: Run, row: TraceRow): void {
    const { nowMs } = this.loop;
    if (run.record.error !== undefined) {
      this.stageOver(run);
      return;
    }
    if (!this.global.up) {
      this.kept.push({ run, row });
      return;
    }
    const maxModelLen = this.fleet.maxModelLen.get(row.model ?? 'default') ?? 0;
    const stageId = `s${this.sequence++}`;
    const sloClass = this.classes.get(run.record.sloClass) ?? UNKNOWN_CLASS;
    const stage = stageOf(run, row, stageId, sloClass, maxModelLen, nowMs);
    const outputTokens = Math.max(1, Math.min(row.output_length, stage.maxTokens));
    const context = this.global.begin({ stage, run });
    const prediction = this.predictions.predict(stage, context, run, row, outputTokens);
    const job = newJob({ stage, context, prediction, run, row, outputTokens });
    this.jobs.set(stageId, job);
    if (maxModelLen <= stage.promptTokens) {
      this.end(job, 'rejected', 'too-large');
      return;
    }
    this.enqueue(job);
  }

  private enqueue(job: Job): void {
    job.state = 'queued';
    job.incarnation = this.global.incarnation;
    const result = this.global.submit(job);
    if (result.kind === 'rejected') this.end(job, 'rejected', result.reason);
  }

  private truthOf(stageId: string): Foresight | undefined {
    const job = this.jobs.get(stageId);
    return job && this.predictions.foresight(job.run, job.row, job.outputTokens);
  }

  expired(stageId: string): void {
    const job = this.jobs.get(stageId);
    if (job) this.end(job, 'rejected', 'queue-timeout');
  }

  /** The message takes the way to the cluster; a stage that has come back meanwhile makes it pointless. */
  keep(job: Job, keep: KeptContext): void {
    const cluster = job.cluster!;
    cluster.links.down.send(() => cluster.keep(job, keep));
  }

  dispatched(dispatch: Dispatch): void {
    const { stageId, clusterId, priority } = dispatch;
    const job = this.jobs.get(stageId);
    if (!job) return;
    const cluster = this.fleet.clusters.get(clusterId)!;
    job.cluster = cluster;
    job.order = dispatch;
    job.priority = priority;
    job.state = 'placing';
    job.attempt += 1;
    if (cluster.links.down.immediate) cluster.place(job);
    else this.sendToCluster(cluster, job);
  }

  private sendToCluster(cluster: SimCluster, job: Job): void {
    const { attempt } = job;
    const incarnation = this.global.incarnation;
    cluster.links.down.send(() => {
      // A connection dies with the process that sent, and what was on the way with it.
      if (incarnation !== this.global.incarnation || job.attempt !== attempt) return;
      if (job.state === 'placing') cluster.place(job);
    });
  }

  capacityChanged(cluster: SimCluster): void {
    this.news.changed(cluster);
  }

  newsWanted(): void {
    this.news.wanted(this.fleet.clusters.values());
  }

  started(job: Job, coldStartMs: number): void {
    job.state = 'running';
    this.nextUses?.began(job.run, job.row);
    job.startedMs = this.loop.nowMs;
    job.coldStartMs = coldStartMs;
    job.node!.engine(job.engineId!).add({
      stageId: job.stage.stageId,
      promptTokens: job.stage.promptTokens,
      outputTokens: job.outputTokens,
      priority: job.priority,
      blockHashes: engineBlocks(job.row),
      rank: job.rank,
    });
  }

  bounced(job: Job, reason: string): void {
    job.excluded = undefined;
    job.moves = 0;
    if (reason === 'too-large' || reason === 'unknown-model') {
      this.end(job, 'rejected', reason);
      return;
    }
    job.state = 'returning';
    const { attempt } = job;
    job.cluster!.links.up.send(() => {
      if (job.state !== 'returning' || job.attempt !== attempt || !this.global.up) return;
      // A process that came after the one which dispatched it has never heard of it.
      if (job.incarnation !== this.global.incarnation) this.enqueue(job);
      else {
        job.state = 'queued';
        this.global.requeue(job.stage.stageId);
      }
    });
  }

  granted(stageId: string, _engineId: string, coldStartMs: number): void {
    const job = this.jobs.get(stageId);
    if (job?.state === 'held') job.cluster!.granted(job, coldStartMs);
  }

  released(stageId: string, engineId: string): void {
    const job = this.jobs.get(stageId);
    if (job?.state === 'held' && job.engineId === engineId) job.cluster!.released(job);
  }

  requeue(stageId: string, engineId: string): void {
    const job = this.jobs.get(stageId);
    if (job?.state !== 'running' || job.engineId !== engineId || job.requeues === MAX_REQUEUES) return;
    job.requeues += 1;
    job.node!.engine(engineId).abort(stageId);
    job.cluster!.finish(job, {});
    this.bounced(job, 'requeued');
  }

  changed(node: SimNode, engineIds: readonly string[]): void {
    this.recorder.changed(node);
    this.fleet.clusterOf.get(node)!.absorb(node, engineIds);
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
    const { cachedTokens, outputTokens, stage } = job;
    job.cluster!.finish(job, { promptTokens: stage.promptTokens, cachedTokens, outputTokens, completed: true });
    job.state = 'answered';
    const { up } = job.cluster!.links;
    if (up.immediate) this.end(job, 'completed');
    else this.sendEnd(up, job);
  }

  private sendEnd(up: Link, job: Job): void {
    up.send(() => this.end(job, 'completed'));
  }

  /** The stage is over, however it ended: everybody learns of it, and its workflow goes on or fails. */
  private end(job: Job, kind: OutcomeKind, reason?: string): void {
    if (job.state === 'ended') return;
    const { stage, run, row } = job;
    const ran = job.state === 'running' || job.state === 'answered';
    if (job.state === 'running' || job.state === 'held') job.cluster!.finish(job, {});
    job.state = 'ended';
    this.jobs.delete(stage.stageId);
    const outcome = outcomeOf(job, kind, reason, this.loop.nowMs);
    this.global.ended(job, outcome, ran);
    this.recorder.stage(job, outcome);
    if (kind === 'completed') for (const ready of completeStage(run, row)) this.start(run, ready.row, ready.delayMs);
    else run.record.error ??= `${row.request_id}: ${kind}${reason === undefined ? '' : ` (${reason})`}`;
    this.stageOver(run);
  }

  /** One stage fewer is under way, or all that come at first have begun; the workflow may be over. */
  private stageOver(run: Run): void {
    run.inFlight -= 1;
    const { record } = run;
    if (run.left > 0 && (record.error === undefined || run.inFlight > 0)) return;
    const { nowMs } = this.loop;
    record.completed = run.left === 0;
    record.endMs = nowMs;
    record.met = record.completed && nowMs <= record.deadlineMs;
    this.nextUses?.closed(run);
    this.openRuns.remove(run);
    this.recorder.workflow(run);
    if (!this.busy) this.loop.stop();
  }

  private endIdleWorkflows(): void {
    this.loop.watch(IDLE_CHECK_MS, () => {
      if (this.global.up) this.global.endIdleWorkflows();
      if (this.busy) this.endIdleWorkflows();
    });
  }

  private runController(): void {
    const { controller } = this.scenario;
    if (!controller) return;
    this.loop.watch(controller.intervalMs, () => {
      const policy = controller.tick(this.loop.nowMs, () => this.global.knownQueues());
      if (policy) this.global.setPolicy(policy);
      if (this.busy) this.runController();
    });
  }

  private crash(engineId: string, downMs: number): void {
    const node = this.fleet.nodes.find(({ spec }) => spec.engines.some((engine) => engine.engineId === engineId));
    if (!node) return;
    const lost = [...this.jobs].flatMap(([, job]) => (job.state === 'running' && job.engineId === engineId ? job : []));
    node.crash(engineId, downMs);
    for (const job of lost) this.end(job, 'engine_failed', 'connection-lost');
  }

  private restartController(downMs: number): void {
    const { global } = this;
    if (!global.up) return;
    global.stop();
    this.loop.after(downMs, () => {
      global.start();
      // Gateways tell the new process of all their open stages, oldest first; what has not reached an engine joins the order anew.
      for (const job of this.inOrderOfArrival()) {
        global.begin(job);
        if (job.state === 'queued' || job.state === 'placing' || job.state === 'returning') this.enqueue(job);
      }
      for (const cluster of this.fleet.clusters.values()) this.news.tellAll(cluster);
      const { kept } = this;
      this.kept = [];
      for (const { run, row } of kept) this.submit(run, row);
    });
  }

  private inOrderOfArrival(): Job[] {
    return [...this.jobs.values()].sort((a, b) => Number(a.stage.stageId.slice(1)) - Number(b.stage.stageId.slice(1)));
  }
}
