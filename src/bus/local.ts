import { ClusterRouter } from '../cluster/router.js';
import { ClusterService } from '../cluster/service.js';
import type { MaestroConfig } from '../config/schema.js';
import type { GpuTelemetry } from '../engine/telemetry/gpu-source.js';
import type { EngineTls } from '../engine/vllm/engine-tls.js';
import { findOrderingPolicy } from '../global/order/registry.js';
import { portfolioFor } from '../global/portfolio/for-fleet.js';
import { Portfolio } from '../global/portfolio/portfolio.js';
import { PortfolioService, type ReplayWorker } from '../global/portfolio/service.js';
import { createRetention } from '../global/retention/retention.js';
import { GlobalScheduler } from '../global/scheduler.js';
import { GlobalService } from '../global/service.js';
import { modelsTakingTurns } from '../global/taking-turns.js';
import { type WorkflowState, WorkflowTracker } from '../global/tracker.js';
import type { Clock } from '../model/clock.js';
import { type NodeSpec, residencyOf } from '../model/fleet.js';
import type { ModelDemand, NodeConfig } from '../node/config.js';
import { EVICTION_POLICIES } from '../node/evict.js';
import { NodeService } from '../node/service.js';
import { DecisionLog } from '../observe/decision-log.js';
import { LineFile } from '../observe/line-file.js';
import type { Logger } from '../observe/log.js';
import type { SavedState } from '../predict/directory/service.js';
import { NextModels } from '../predict/next-models.js';
import { OnlinePredictor } from '../predict/predictor.js';
import type { ServiceTimeModel } from '../predict/service-time.js';
import type { StageModel } from '../predict/stage-model.js';
import type { EngineSnapshot, FleetSnapshot } from './contract.js';
import { EngineFacts } from './engine-facts.js';

export interface LocalLevelsOptions {
  readonly config: MaestroConfig;
  /** The fleet, every engine with its address. */
  readonly nodes: readonly NodeSpec[];
  /** Clock of the levels; the emulated one where the fleet is emulated. */
  readonly clock: Clock;
  readonly wallClock: Clock;
  readonly logger: Logger;
  readonly telemetry?: (nodeId: string) => GpuTelemetry | undefined;
  /** See {@link NodeService}: what the host of a node has left. */
  readonly hostAvailableBytes?: (nodeId: string) => (() => number) | undefined;
  readonly failedGpus?: (nodeId: string) => (() => readonly number[]) | undefined;
  /** See {@link NodeService}: an engine's port refuses connections. */
  readonly onRefused?: (engineId: string, forMs: number) => void;
  /** Is an engine of this model being started? Requests for it wait then. Absent: nobody starts engines. */
  readonly comesBack?: (model: string) => boolean;
  /** Are the weights of this engine still to be brought onto its node? Absent: nobody brings any. */
  readonly isFetching?: (engineId: string) => boolean;
  readonly engineApiKeys?: ReadonlyMap<string, string>;
  /** For engines at `https://` URLs. */
  readonly engineTls?: EngineTls | undefined;
  /** Service time of a call alone, where model and GPU are known. */
  readonly serviceTimeMs?: ServiceTimeModel | undefined;
  /** A trained model, and what was learned before a restart. */
  readonly prediction?: { readonly model?: StageModel | undefined; readonly state?: SavedState | undefined };
  /** Hears of each workflow that is over. */
  readonly onWorkflowOver?: (workflow: WorkflowState) => void;
  /** Replays traffic for the self-tuning policy; without it `maestro` keeps the ordering that it begins with. */
  readonly replays?: ReplayWorker | undefined;
}

/** The three levels in one process, joined by function calls. Only engines are processes of their own. */
export interface LocalLevels {
  readonly scheduling: GlobalService;
  readonly predictor: OnlinePredictor;
  /** May the process of an engine start, and take its memory? See {@link NodeService.mayStart}. */
  mayStart(nodeId: string, engineId: string, over: boolean): boolean;
  /** Records that the decision log file does not have, because it could not be written. */
  lostDecisions(): number;
  /** All that was learned, to go on from after a restart. */
  state(): SavedState;
  /** Looks at every engine once; resolves when each has been tried, reachable or not. */
  start(): Promise<void>;
  /** Ends everything; whatever is still held is released. */
  stop(): Promise<void>;
}

const DECISIONS_KEPT = 5_000;
/** Running workflows whose next models are foreseen. */
const WORKFLOWS_FORESEEN = 20_000;

/** The epoch of a process that leads itself. */
const LOCAL_EPOCH = 1;

export function createLocalLevels(options: LocalLevelsOptions): LocalLevels {
  const { config, clock, wallClock, logger } = options;
  const { classes, scheduling: rules } = config;
  const tracker = new WorkflowTracker(options.onWorkflowOver ? { onOver: options.onWorkflowOver } : {});
  const portfolio = options.replays ? new Portfolio({ ...portfolioFor(options.nodes), ...rules.portfolio }) : undefined;
  const facts = new EngineFacts(options.nodes.flatMap(({ engines }) => engines));
  const scheduler = schedulerOf(options, tracker, portfolio, facts);
  const nextModels = new NextModels(WORKFLOWS_FORESEEN);
  const demand = (model: string): ModelDemand => ({
    queued: scheduler.waitingFor(model)?.size ?? 0,
    expected: nextModels.expected(model),
  });
  const firstWaitingKey = (model: string): number => scheduler.waitingFor(model)?.firstKey() ?? Infinity;
  const onFound = () => facts.learn(nodes.flatMap((node) => node.views().map(({ spec }) => spec)));
  const nodes: readonly NodeService[] = options.nodes.map((spec) =>
    nodeService(spec, options, { demand, firstWaitingKey }, onFound),
  );
  const clusters = clustersOf(options, nodes);
  const tuning =
    portfolio && options.replays
      ? new PortfolioService({
          ...{ clock, portfolio, scheduler, logger, worker: options.replays },
          timeScale: config.fleet.timeScale,
        })
      : undefined;
  const decisionLog = new DecisionLog({
    capacity: DECISIONS_KEPT,
    file: decisionFile(config.observe.decisionLog, wallClock, logger),
  });
  const predictor = new OnlinePredictor({
    targetOverflow: rules.kvOverflowTarget,
    learnsNextRoles: false,
    serviceTimeMs: options.serviceTimeMs,
    kvMemory: facts.kvMemory,
    model: options.prediction?.model,
  });
  if (options.prediction?.state) predictor.restore(options.prediction.state);
  const scheduling = new GlobalService({
    clock,
    scheduler,
    tracker,
    nextModels,
    predictor,
    clusters,
    classes,
    aliases: config.aliases,
    decisionLog,
    comesBack: options.comesBack,
    fleetState: () => ({
      ...fleetState(nodes, clock.nowMs(), options.isFetching),
      ...(tuning ? { portfolio: tuning.snapshot() } : {}),
    }),
  });
  return {
    scheduling,
    predictor,
    mayStart: (nodeId, engineId, over) => nodes.find((node) => node.nodeId === nodeId)!.mayStart(engineId, over),
    lostDecisions: () => decisionLog.lost,
    state: () => ({
      ...predictor.state(),
      nodes: Object.fromEntries(nodes.map((node) => [node.nodeId, node.kvState()])),
    }),
    start: async () => {
      await Promise.all(nodes.map((node) => node.start()));
    },
    stop: async () => {
      scheduling.close();
      await tuning?.close();
      await Promise.all(nodes.map((node) => node.stop()));
      await decisionLog.end();
    },
  };
}

function schedulerOf(
  { config, nodes, serviceTimeMs }: LocalLevelsOptions,
  tracker: WorkflowTracker,
  portfolio: Portfolio | undefined,
  facts: EngineFacts,
): GlobalScheduler {
  const { classes, gateway, scheduling: rules } = config;
  const policy = findOrderingPolicy(rules.policy);
  if (!policy) throw new Error(`the config names ordering policy ${rules.policy}, which is not registered`);
  return new GlobalScheduler(
    {
      policy: portfolio?.policy ?? policy,
      traffic: portfolio?.traffic,
      classes,
      kvPoolTokens: facts.modelPoolTokens,
      modelsTakingTurns: modelsTakingTurns(nodes),
      retention: createRetention(rules.retention, facts.enginePoolTokens, serviceTimeMs),
      maxCount: rules.queue.maxCount,
      maxBytes: rules.queue.maxBytes,
      maxCountPerTenant: rules.queue.maxCountPerTenant ?? rules.queue.maxCount,
      interactiveTimeoutMs: gateway.timeouts.queueMs,
      batchTimeoutMs: gateway.timeouts.queueMs,
      interactiveOverdueMs: rules.interactiveStarvationBoundMs,
      batchOverdueMs: rules.starvationBoundMs,
    },
    tracker,
  );
}

/** One router for each cluster that the nodes name, in front of its nodes. */
function clustersOf(
  { config, clock, nodes: specs }: LocalLevelsOptions,
  nodes: readonly NodeService[],
): Map<string, ClusterService> {
  const { classes, scheduling } = config;
  const interactiveClasses = new Set(classes.filter(({ kind }) => kind === 'interactive').map(({ name }) => name));
  const clusters = new Map<string, ClusterService>();
  for (const clusterId of new Set(specs.map((node) => node.clusterId))) {
    const inCluster = new Set(specs.filter((node) => node.clusterId === clusterId).map((node) => node.nodeId));
    const cluster = new ClusterService({
      clusterId,
      router: new ClusterRouter({ clusterId, lookAhead: scheduling.lookAhead }),
      nodes: nodes.filter(({ nodeId }) => inCluster.has(nodeId)),
      clock,
      interactiveClasses,
      epoch: LOCAL_EPOCH,
    });
    clusters.set(clusterId, cluster);
  }
  return clusters;
}

function decisionFile(path: string | undefined, wallClock: Clock, logger: LocalLevelsOptions['logger']) {
  return path === undefined
    ? undefined
    : new LineFile(path, wallClock, (error) =>
        logger.error(
          { err: error, path },
          'the decision log cannot be written; serving goes on, what is lost is counted, and it is tried again',
        ),
      );
}

function nodeService(
  spec: NodeSpec,
  options: LocalLevelsOptions,
  waiting: Pick<NodeConfig, 'demand' | 'firstWaitingKey'>,
  onFound: () => void,
): NodeService {
  const { config, clock, wallClock, logger, engineApiKeys, engineTls } = options;
  const { lookAhead, minResidencyMs, prefetch, firstSleep, weights } = config.scheduling;
  const telemetry = options.telemetry?.(spec.nodeId);
  const failedGpus = options.failedGpus?.(spec.nodeId);
  const hostAvailableBytes = options.hostAvailableBytes?.(spec.nodeId);
  return new NodeService({
    spec,
    clock,
    wallClock,
    manager: {
      ...{ lookAhead, minResidencyMs, prefetch, firstSleep, eviction: EVICTION_POLICIES[weights], ...waiting },
      kvState: options.prediction?.state?.nodes?.[spec.nodeId],
    },
    ...(telemetry ? { telemetry } : {}),
    ...(failedGpus ? { failedGpus } : {}),
    ...(hostAvailableBytes ? { hostAvailableBytes } : {}),
    ...(options.onRefused ? { onRefused: options.onRefused } : {}),
    apiKey: (engineId) => engineApiKeys?.get(engineId),
    tls: engineTls,
    onFound,
    // Emulated engines end with this process, and of those named by their URL alone no folder is known.
    ...(config.fleet.nodes.some(({ engines }) => engines.some(({ url }) => url !== undefined))
      ? { stateDir: config.fleet.stateDir }
      : {}),
    logger,
  });
}

function fleetState(
  nodes: readonly NodeService[],
  atMs: number,
  isFetching: LocalLevelsOptions['isFetching'],
): Omit<FleetSnapshot, 'policy' | 'openWorkflows' | 'queued' | 'floods' | 'outcomes'> {
  const unit: FleetSnapshot['kv']['unit'] = nodes.some((node) => node.knowsKvBytes()) ? 'bytes' : 'tokens';
  const kv = { unit, reservedByteSeconds: 0, maxTokenByteSeconds: 0, usedByteSeconds: 0 };
  const coldStarts = { count: 0, requestSeconds: 0 };
  const moves = { sleeps: 0, wakes: 0, failures: 0 };
  let preemptions = 0;
  for (const stats of nodes.map((node) => node.stats())) {
    const { unsized, ...bytes } = stats.kv;
    kv.reservedByteSeconds += (unit === 'bytes' ? bytes.reservedByteMs : unsized.reservedTokenMs) / 1000;
    kv.maxTokenByteSeconds += (unit === 'bytes' ? bytes.maxTokenByteMs : unsized.maxTokenMs) / 1000;
    kv.usedByteSeconds += (unit === 'bytes' ? bytes.usedByteMs : unsized.usedTokenMs) / 1000;
    moves.sleeps += stats.moves.sleeps;
    moves.wakes += stats.moves.wakes;
    moves.failures += stats.moves.failures;
    coldStarts.count += stats.moves.wakes;
    coldStarts.requestSeconds += stats.coldStarts.requestMs / 1000;
    preemptions += stats.preemptions;
  }
  return {
    atMs,
    engines: nodes.flatMap((node) =>
      node.views().map((view) => engineSnapshot(node, view, isFetching?.(view.spec.engineId))),
    ),
    gpus: nodes.flatMap((node) => node.gpuMemory().map((gpu) => ({ nodeId: node.nodeId, ...gpu }))),
    kv,
    moves,
    coldStarts,
    preemptions,
  };
}

function engineSnapshot(
  node: NodeService,
  view: ReturnType<NodeService['views']>[number],
  isFetching = false,
): EngineSnapshot {
  const { spec, state, seats, leases, reservedKvTokens, keptKvTokens = 0, kvPoolTokens } = view;
  const gauges = node.gauges(spec.engineId);
  return {
    nodeId: node.nodeId,
    engineId: spec.engineId,
    model: spec.model,
    state,
    weights: isFetching ? 'remote' : residencyOf(view),
    leases,
    seats: Number.isFinite(seats) ? seats : undefined,
    running: gauges?.running,
    waiting: gauges?.waiting,
    kvReservedTokens: reservedKvTokens,
    kvKeptTokens: keptKvTokens,
    // A share of the whole pool, whatever limit an elastic one has.
    kvUsedTokens: Number.isFinite(spec.kvPoolTokens) ? Math.round((gauges?.kvUsage ?? 0) * spec.kvPoolTokens) : 0,
    // JSON has no Infinity; 0 stands for a pool of unknown size.
    kvPoolTokens: Number.isFinite(kvPoolTokens) ? kvPoolTokens : 0,
  };
}
