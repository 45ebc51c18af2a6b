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
import type { NodeSpec } from '../model/fleet.js';
import type { ModelDemand } from '../node/config.js';
import { DecisionLog } from '../observe/decision-log.js';
import { LineFile } from '../observe/line-file.js';
import type { Logger } from '../observe/log.js';
import type { SavedState } from '../predict/directory/service.js';
import { NextModels } from '../predict/next-models.js';
import { OnlinePredictor } from '../predict/predictor.js';
import type { ServiceTimeModel } from '../predict/service-time.js';
import type { StageModel } from '../predict/stage-model.js';
import { EngineFacts } from './engine-facts.js';
import { LocalFleet } from './local-fleet.js';

export interface LocalLevelsOptions {
  readonly config: MaestroConfig;
  /** The fleet, every engine with its address. */
  readonly nodes: readonly NodeSpec[];
  /** Clock of the levels; the emulated one where the fleet is emulated. */
  readonly clock: Clock;
  readonly wallClock: Clock;
  readonly logger: Logger;
  readonly telemetry?: (nodeId: string) => GpuTelemetry | undefined;
  /** What this host has left for a node whose engines are on it, bytes; undefined for others. */
  readonly hostAvailableBytes?: (node: NodeSpec) => (() => number) | undefined;
  readonly failedGpus?: (nodeId: string) => (() => readonly number[]) | undefined;
  /** See {@link NodeService}: an engine's port refuses connections. */
  readonly onRefused?: (engineId: string, forMs: number) => void;
  /** An engine has been found. */
  readonly onFound?: () => void;
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
  /** Engines and nodes, which may join and leave. */
  readonly fleet: LocalFleet;
  /**
   * What is in service has changed: the global level follows, and what it replays is replayed on this fleet.
   *
   * @param replays Undefined where that fleet cannot be modelled; the order stays then.
   */
  fleetChanged(nodes: readonly NodeSpec[], replays: ReplayWorker | undefined): void;
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
  const onChange = () => facts.learn(fleet.engines());
  const fleet: LocalFleet = new LocalFleet({ levels: options, waiting: { demand, firstWaitingKey }, onChange });
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
    clusters: fleet.clusters,
    classes,
    aliases: config.aliases,
    decisionLog,
    comesBack: options.comesBack,
    fleetState: () => ({
      ...fleet.snapshot(clock.nowMs()),
      ...(tuning ? { portfolio: tuning.snapshot() } : {}),
    }),
  });
  fleet.onNewCluster((cluster) => scheduling.joinCluster(cluster));
  return {
    scheduling,
    predictor,
    fleet,
    mayStart: (nodeId, engineId, over) => fleet.node(nodeId)?.mayStart(engineId, over) ?? false,
    fleetChanged: (nodes, replays) => {
      scheduler.fleetChanged(modelsTakingTurns(nodes));
      tuning?.fleetChanged(portfolioFor(nodes), replays);
    },
    lostDecisions: () => decisionLog.lost,
    state: () => ({
      ...predictor.state(),
      nodes: Object.fromEntries(fleet.all().map((node) => [node.nodeId, node.kvState()])),
    }),
    start: async () => {
      await Promise.all(fleet.all().map((node) => node.start()));
    },
    stop: async () => {
      scheduling.close();
      await tuning?.close();
      await Promise.all(fleet.all().map((node) => node.stop()));
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
