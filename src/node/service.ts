import type { EngineEndpoint } from '../bus/contract.js';
import { EarliestTimer } from '../bus/earliest-timer.js';
import { soon } from '../bus/soon.js';
import { Stager } from '../engine/staging/stager.js';
import type { GpuTelemetry } from '../engine/telemetry/gpu-source.js';
import { HOST_MEMORY_EVERY_MS, type HostMemory, type HostNode } from '../engine/telemetry/host-memory.js';
import { type DiscoveredEngine, discoveredLimits } from '../engine/vllm/discover.js';
import { believedAsleep, foreignSleep, mayAnswer } from '../engine/vllm/foreign-sleep.js';
import {
  closeLiveEngine,
  type LiveEngine,
  type LiveEngineOptions,
  openLiveEngine,
} from '../engine/vllm/live-engine.js';
import type { EngineMetrics } from '../engine/vllm/metrics.js';
import type { MonitorDownReason } from '../engine/vllm/monitor.js';
import type { Clock } from '../model/clock.js';
import type {
  Demand,
  EngineSpec,
  EngineView,
  KeptContext,
  LeaseUse,
  Leaving,
  NodeSpec,
  ReserveResult,
} from '../model/fleet.js';
import { type EngineEvent, loggedMove, MOVE_EVENTS, type NodeAction } from './actions.js';
import type { NodeConfig } from './config.js';
import type { NodeListener } from './listener.js';
import { NodeManager } from './manager.js';
import { type HoldEnd, OpenHolds } from './open-holds.js';
import { saneReading } from './room-confirmation.js';
import type { EngineGauges, NodeStats } from './stats.js';

/** What a node's agent is made of. */
export interface NodeServiceOptions extends LiveEngineOptions {
  /** Configured engines, or `unknownEngineSpec`s where only URLs are known. */
  readonly spec: NodeSpec;
  /** The clock of decisions and leases; may be scaled. */
  readonly clock: Clock;
  readonly manager?: Partial<NodeConfig>;
  readonly telemetry?: GpuTelemetry;
  /** RAM of the host of the engines, shared with its other nodes, and what it has left; absent where it is another host, or an emulated one. */
  readonly host?: { readonly memory: HostMemory; readonly availableBytes: () => number };
  /** GPUs that have told of a fatal Xid. */
  readonly failedGpus?: () => readonly number[];
  /** An engine has answered, and its specification holds what it said. */
  readonly onFound?: () => void;
}

/** Level 1, live: the node's agent. Feeds the {@link NodeManager} with what engines say and do, and carries its actions out against vLLM. */
export class NodeService {
  readonly nodeId: string;
  private readonly manager: NodeManager;
  private readonly live = new Map<string, LiveEngine>();
  /** Who is to hear that an engine that leaves is empty. */
  private readonly leavers = new Map<string, () => void>();
  private readonly holdEnds = new OpenHolds();
  private listener: NodeListener | undefined;
  private readonly gpuCapacityBytes: readonly number[];
  /** The listener knows that there are changes to fetch. */
  private told = false;
  private readonly stager: Stager | undefined;
  private pumpDue = false;
  private readonly timer: EarliestTimer;
  private stopped = false;
  private readonly onHost: HostNode = {
    availableBytes: () => this.options.host!.availableBytes(),
    pinningBytes: () => this.manager.ledger.pinningBytes,
    hostSeen: (bytes) => this.event({ kind: 'host-memory', bytes }),
  };
  private readonly readTelemetry = () => saneReading(this.options.telemetry?.usedBytes(), this.gpuCapacityBytes);

  constructor(private readonly options: NodeServiceOptions) {
    const { spec, telemetry, manager } = options;
    this.nodeId = spec.nodeId;
    this.timer = new EarliestTimer(options.clock, () => this.pumpSoon());
    this.gpuCapacityBytes = spec.gpus.map(({ memoryBytes }) => memoryBytes);
    this.manager = new NodeManager(spec, { telemetry: telemetry !== undefined, ...manager });
    this.stager = spec.staging && new Stager(spec, spec.staging, options.logger, (event) => this.event(event));
    for (const engine of spec.engines) this.open(engine);
  }

  /** Begins to watch a further engine; resolves when it has been tried once. */
  async join(spec: EngineSpec): Promise<void> {
    this.manager.join(spec, this.options.clock.nowMs());
    const { monitor } = this.open(spec);
    this.settle();
    await monitor.start();
  }

  /** The engine takes nothing new; `onEmpty` hears once when what ran on it has ended. Without `leaving` it is to stay after all. */
  leave(engineId: string, leaving: Leaving | undefined, onEmpty = () => {}): void {
    if (leaving) this.leavers.set(engineId, onEmpty);
    else this.leavers.delete(engineId);
    this.manager.leave(engineId, leaving, this.options.clock.nowMs());
    this.settle();
  }

  /** Forgets an engine that is empty, and closes the connections to it. */
  async forget(engineId: string): Promise<void> {
    const engine = this.live.get(engineId)!;
    // What it answers late is dropped.
    engine.incarnation += 1;
    this.live.delete(engineId);
    this.manager.forget(engineId, this.options.clock.nowMs());
    this.listener?.gone(engineId);
    this.settle();
    await closeLiveEngine(engine);
  }

  /** Begins to watch all engines; resolves when each has been tried once, reachable or not. */
  async start(): Promise<void> {
    await this.stager?.open();
    this.options.host?.memory.tell(this.onHost);
    await Promise.all([...this.live.values()].map(({ monitor }) => monitor.start()));
    this.pump();
  }

  /** Stops watching and closes all connections; holds that are still open are released. `forGood`: the node comes back no more, and leaves no copies of weights behind. */
  async stop(forGood = false): Promise<void> {
    this.stopped = true;
    this.timer.cancel();
    this.options.host?.memory.leave(this.onHost);
    this.stager?.close();
    for (const [stageId, end] of this.holdEnds.all()) {
      this.cancel(stageId);
      end({ kind: 'released', reason: 'shutting-down' });
    }
    await Promise.all([...this.live.values()].map(closeLiveEngine));
    if (forGood) await this.stager?.clear();
  }

  /** A `hold` is followed by one call of `onHoldEnd`, never before this returns, unless it is cancelled first. */
  reserve(demand: Demand, onHoldEnd: (end: HoldEnd) => void): ReserveResult {
    const result = this.manager.reserve(demand, this.options.clock.nowMs());
    if (result.kind === 'hold') this.holdEnds.open(demand.stageId, demand.engineId, onHoldEnd);
    this.settle();
    return result;
  }

  /** Ends a hold. A grant that is on its way is given back. */
  cancel(stageId: string): void {
    const nowMs = this.options.clock.nowMs();
    this.holdEnds.drop(stageId);
    this.manager.cancel(stageId, nowMs);
    this.manager.release(stageId, {}, nowMs);
    this.settle();
  }

  /** From now on `listener` hears of the node. */
  listen(listener: NodeListener): void {
    this.listener = listener;
  }

  firstToken(stageId: string): void {
    this.manager.firstToken(stageId, this.options.clock.nowMs());
    this.settle();
  }

  release(stageId: string, use: LeaseUse): void {
    this.manager.release(stageId, use, this.options.clock.nowMs());
    this.settle();
  }

  keep(engineId: string, context: KeptContext): void {
    this.manager.keep(engineId, context, this.options.clock.nowMs());
    this.settle();
  }

  endpoint(engineId: string): EngineEndpoint | undefined {
    const client = this.live.get(engineId)?.client;
    const model = this.manager.view(engineId)?.spec.model;
    if (!client || model === undefined) return undefined;
    return { dataPath: client.dataPath, upstreamModel: model };
  }

  /** The data path got no connection to the engine: it is taken out at once, and its memory is free where nobody listens. */
  reportUnreachable(engineId: string, refused: boolean): void {
    this.live.get(engineId)?.monitor.reportUnreachable(refused);
  }

  /** May the engine's process start, and take its memory? Asked until it may; `over` ends that, or takes back what a process had that never served. */
  mayStart(engineId: string, over = false): boolean {
    this.pumpSoon();
    return this.manager.start(engineId, over, this.options.clock.nowMs());
  }

  /** Whether the engine did its part of a request that it had. */
  reportAnswer(engineId: string, answered: boolean): void {
    this.live.get(engineId)?.monitor.reportAnswer(answered);
  }

  /** Engines whose view has changed since the last call. */
  changedViews(): readonly EngineView[] {
    this.told = false;
    return this.manager.changed().map((engineId) => this.manager.view(engineId)!);
  }

  views(): readonly EngineView[] {
    return this.manager.views();
  }

  view(engineId: string): EngineView | undefined {
    return this.manager.view(engineId);
  }

  gauges(engineId: string): EngineGauges | undefined {
    return this.manager.gauges(engineId);
  }

  stats(): NodeStats {
    return this.manager.stats();
  }

  kvState(): ReturnType<NodeManager['kvState']> {
    return this.manager.kvState();
  }

  /** HBM by GPU: the device's own account where there is one, else the ledger's. */
  gpuMemory(): { readonly gpu: number; readonly usedBytes: number; readonly totalBytes: number }[] {
    const reading = this.readTelemetry();
    const usedBytes = (gpu: number) => reading?.[gpu] ?? this.manager.ledger.gpuUsedBytes(gpu);
    return this.gpuCapacityBytes.map((totalBytes, gpu) => ({ gpu, usedBytes: usedBytes(gpu), totalBytes }));
  }

  private open(spec: EngineSpec): LiveEngine {
    const { engineId } = spec;
    const engine = openLiveEngine(spec, this.options, {
      up: (found) => this.engineUp(engineId, found),
      down: (reason, detail) => this.engineDown(engineId, reason, detail),
      metrics: (metrics) => this.engineMetrics(engineId, metrics),
      outstanding: () => this.outstanding(engineId),
      event: (event) => this.event(event),
    });
    this.live.set(engineId, engine);
    return engine;
  }

  private engineUp(engineId: string, found: DiscoveredEngine): void {
    const engine = this.live.get(engineId)!;
    engine.incarnation += 1;
    engine.moving = false;
    engine.moves.found(found.metrics?.processStartSeconds);
    const { spec } = engine;
    const limits = discoveredLimits(found, spec);
    const { version, modelNames, level, schedulingPolicy } = found;
    this.options.logger.info({ engineId, version, modelNames, level, schedulingPolicy, ...limits }, 'engine is up');
    if (spec.model !== '' && !modelNames.includes(spec.model)) {
      const fields = { engineId, configured: spec.model, modelNames };
      this.options.logger.warn(fields, 'engine serves another model than configured');
    }
    this.event({ kind: 'engine-up', engineId, level, limits });
    this.options.onFound?.();
  }

  private engineDown(engineId: string, reason: MonitorDownReason, detail: string): void {
    const engine = this.live.get(engineId)!;
    engine.incarnation += 1;
    engine.moving = false;
    this.options.logger.warn({ engineId, reason, detail }, 'engine is down');
    this.event({ kind: 'engine-down', engineId, reason });
  }

  private engineMetrics(engineId: string, metrics: EngineMetrics): void {
    const { running, waiting, preemptionsTotal = 0, kvUsage = 0, generationTokensTotal: generatedTokens } = metrics;
    const { ranks } = metrics;
    if (running !== undefined && waiting !== undefined) {
      this.event({ kind: 'counters', engineId, running, waiting, preemptionsTotal, kvUsage, generatedTokens, ranks });
    }
    this.tellTelemetry();
    const { failedGpus } = this.options;
    if (failedGpus) this.event({ kind: 'failed-gpus', gpus: failedGpus() });
    void this.reconcileSleep(engineId, metrics);
  }

  private async reconcileSleep(engineId: string, metrics: EngineMetrics): Promise<void> {
    const engine = this.live.get(engineId)!;
    const { client, moves, incarnation } = engine;
    const settled = () => !engine.moving && engine.incarnation === incarnation;
    const level = await foreignSleep(client, metrics, () =>
      settled() ? believedAsleep(this.view(engineId)?.state) : undefined,
    );
    if (level === undefined) return;
    this.options.logger.warn({ engineId, level }, 'engine was put to sleep or woken by somebody else');
    // What it was given before would wait inside it for ever.
    if (level === 1 && this.outstanding(engineId) > 0 && (await moves.wake(1)).ok) return;
    if (engine.incarnation !== incarnation) return;
    // The process is the same: memory that it has pinned for a sleep stays pinned.
    this.event({ kind: 'engine-up', engineId, level, slept: this.manager.hasSlept(engineId) });
  }

  /** Requests in the engine's hands; nothing is expected to move while it is not awake. */
  private outstanding(engineId: string): number {
    return mayAnswer(this.view(engineId)?.state) ? this.manager.gauges(engineId)!.leases : 0;
  }

  private event(event: EngineEvent): void {
    this.manager.engineEvent(event, this.options.clock.nowMs());
    this.settle();
  }

  /** After every call of the manager: tells of changes, and carries out what it wants, where it wants anything before the timer. Most calls end here. */
  private settle(): void {
    if (this.manager.nextTickMs() < this.timer.dueMs) this.pumpSoon();
    if (this.leavers.size > 0) this.tellEmpty();
    if (this.told || !this.manager.engineViews.hasChanged) return;
    this.told = true;
    this.listener?.changed();
  }

  private tellEmpty(): void {
    for (const [engineId, onEmpty] of this.leavers) {
      if (!this.manager.isOver(engineId, this.options.clock.nowMs())) continue;
      this.leavers.delete(engineId);
      soon(onEmpty);
    }
  }

  private pumpSoon(): void {
    if (this.pumpDue || this.stopped) return;
    this.pumpDue = true;
    soon(this.pump);
  }

  /** Carries out what the manager wants, and sets the timer for what only time brings. */
  private readonly pump = (): void => {
    this.pumpDue = false;
    if (this.stopped) return;
    const { clock } = this.options;
    for (const action of this.manager.tick(clock.nowMs())) this.carryOut(action);
    this.timer.by(this.manager.nextTickMs(), clock.nowMs());
    this.settle();
  };

  private carryOut(action: NodeAction): void {
    if (action.kind === 'grant') {
      const { lease } = action;
      // An earlier callback of this very turn may have cancelled the stage, and even asked anew for it: that hold is another one.
      if (!this.manager.holdsLease(lease)) return;
      this.holdEnds.end(lease.stageId, lease.engineId, { kind: 'grant', lease });
    } else if (action.kind === 'release-hold') {
      this.holdEnds.end(action.stageId, action.engineId, { kind: 'released', reason: action.reason });
    } else if (action.kind === 'requeue') {
      this.requeue(action);
    } else if (action.kind === 'kv-limit') {
      this.live.get(action.engineId)?.kvLimit?.set(action.bytes);
    } else if (action.kind === 'stage' || action.kind === 'unstage') {
      void this.stager?.carryOut(action);
    } else {
      void this.move(action);
    }
  }

  /** The front door lets go first, so that no half answer is taken for a whole one; vLLM is told as well, for the connection may be slow to close. */
  private requeue({ stageId, engineId, reason }: Extract<NodeAction, { kind: 'requeue' }>): void {
    if (!this.listener?.requeue(stageId, reason)) return;
    void this.live.get(engineId)?.client.abort([`chatcmpl-${stageId}`, `cmpl-${stageId}-0`]);
  }

  private async move(action: Extract<NodeAction, { kind: 'sleep' | 'wake' | 'canary' }>): Promise<void> {
    const { engineId } = action;
    const engine = this.live.get(engineId);
    if (!engine) return;
    const { incarnation, moves } = engine;
    const model = this.manager.view(engineId)!.spec.model;
    const startedMs = this.options.wallClock.nowMs();
    engine.moving = true;
    if (action.kind === 'sleep' && action.level === 1) this.options.host?.memory.begun(this.onHost);
    const reply =
      action.kind === 'sleep'
        ? await moves.sleep(action.level, action.mode, model)
        : action.kind === 'wake'
          ? await moves.wake(action.level, await this.stager?.folderFor(engine.spec, action.from))
          : await moves.canary(model);
    if (this.stopped || engine.incarnation !== incarnation) return;
    engine.moving = false;
    const fields = { ...loggedMove(action), wallMs: Math.round(this.options.wallClock.nowMs() - startedMs) };
    if (reply.ok) {
      this.options.logger.info(fields, `${action.kind} done`);
    } else {
      this.options.logger.warn({ ...fields, failure: reply.failure.message }, `${action.kind} failed`);
      if (reply.failure.kind === 'refused') return engine.monitor.reportUnreachable(true);
    }
    this.event({ kind: MOVE_EVENTS[action.kind][reply.ok ? 'done' : 'failed'], engineId });
    // What waits for its memory is not left to wait for the next poll as well.
    await this.options.telemetry?.refresh();
    if (this.stopped) return;
    this.options.host?.memory.tell(this.onHost);
    this.tellTelemetry();
  }

  private tellTelemetry(): void {
    const reading = this.readTelemetry();
    if (reading) this.event({ kind: 'telemetry', gpuUsedBytes: reading });
    this.options.host?.memory.tell(this.onHost, HOST_MEMORY_EVERY_MS);
  }
}
