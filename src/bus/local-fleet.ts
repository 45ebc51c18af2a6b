import { ClusterRouter } from '../cluster/router.js';
import { ClusterService } from '../cluster/service.js';
import { HostMemory } from '../engine/telemetry/host-memory.js';
import { type EngineSpec, type Leaving, type NodeSpec, residencyOf } from '../model/fleet.js';
import type { NodeConfig } from '../node/config.js';
import { knownKvBytes } from '../node/engine-record.js';
import { EVICTION_POLICIES } from '../node/evict.js';
import { NodeService } from '../node/service.js';
import type { EngineSnapshot, FleetSnapshot } from './contract.js';
import type { LocalLevelsOptions } from './local.js';

export interface LocalFleetOptions {
  readonly levels: LocalLevelsOptions;
  /** What nodes are told of what waits for them. */
  readonly waiting: Pick<NodeConfig, 'demand' | 'firstWaitingKey'>;
  /** What is known of the engines has changed, or which there are. */
  readonly onChange: () => void;
}

type Totals = Pick<FleetSnapshot, 'moves' | 'coldStarts' | 'preemptions'> & {
  readonly bytes: Omit<FleetSnapshot['kv'], 'unit'>;
  readonly tokens: Omit<FleetSnapshot['kv'], 'unit'>;
};

/** The epoch of a process that leads itself. */
const LOCAL_EPOCH = 1;

/** Nodes and clusters of one process; engines and whole nodes join and leave while it serves. */
export class LocalFleet {
  private readonly nodes = new Map<string, NodeService>();
  private readonly clusterOf = new Map<string, ClusterService>();
  readonly clusters = new Map<string, ClusterService>();
  private readonly hostMemory: HostMemory;
  /** What nodes that are gone had counted: totals never fall. */
  private gone: Totals | undefined;
  private onCluster: ((cluster: ClusterService) => void) | undefined;

  constructor(private readonly options: LocalFleetOptions) {
    const { nodes, config, wallClock } = options.levels;
    this.hostMemory = new HostMemory(wallClock);
    // Emulated engines end with this process, and of those named by their URL alone no folder is known.
    const named = config.fleet.nodes.some(({ engines }) => engines.some(({ url }) => url !== undefined));
    const stateDir = named ? config.fleet.stateDir : undefined;
    for (const spec of nodes) this.nodes.set(spec.nodeId, this.open(spec, stateDir));
    for (const { clusterId } of nodes) if (!this.clusters.has(clusterId)) this.openCluster(clusterId);
    for (const { clusterId, nodeId } of nodes) this.enter(this.nodes.get(nodeId)!, clusterId);
  }

  /** `listener` hears of each cluster that a node brings. */
  onNewCluster(listener: (cluster: ClusterService) => void): void {
    this.onCluster = listener;
  }

  all(): NodeService[] {
    return [...this.nodes.values()];
  }

  node(nodeId: string): NodeService | undefined {
    return this.nodes.get(nodeId);
  }

  /** Engines that stages may be sent to, as they are known now. */
  engines(): EngineSpec[] {
    return this.all().flatMap((node) => node.views().flatMap(({ spec, state }) => (state === 'leaving' ? [] : [spec])));
  }

  /** A further node; resolves when each of its engines has been tried once. `stateDir`: folder for what is to outlive this process. */
  async joinNode(spec: NodeSpec, stateDir?: string): Promise<void> {
    const node = this.open(spec, stateDir);
    this.nodes.set(spec.nodeId, node);
    if (!this.clusters.has(spec.clusterId)) this.onCluster?.(this.openCluster(spec.clusterId));
    this.enter(node, spec.clusterId);
    this.options.onChange();
    await node.start();
  }

  /** Closes a node whose engines are gone. */
  async leaveNode(nodeId: string): Promise<void> {
    const node = this.nodes.get(nodeId)!;
    this.gone = this.totals([node]);
    this.nodes.delete(nodeId);
    this.clusterOf.get(nodeId)!.leave(nodeId);
    this.clusterOf.delete(nodeId);
    await node.stop(true);
  }

  /** A further engine of a node; resolves when it has been tried once. */
  joinEngine(spec: EngineSpec): Promise<void> {
    const tried = this.nodes.get(spec.nodeId)!.join(spec);
    this.options.onChange();
    return tried;
  }

  /** See {@link NodeService.leave}. */
  leaveEngine(nodeId: string, engineId: string, leaving: Leaving | undefined, onEmpty?: () => void): void {
    this.nodes.get(nodeId)!.leave(engineId, leaving, onEmpty);
    this.options.onChange();
  }

  /** See {@link NodeService.forget}. */
  async forgetEngine(nodeId: string, engineId: string): Promise<void> {
    const closed = this.nodes.get(nodeId)!.forget(engineId);
    this.options.onChange();
    await closed;
  }

  /** The part of a snapshot that the nodes know. */
  snapshot(
    atMs: number,
  ): Omit<FleetSnapshot, 'policy' | 'portfolio' | 'openWorkflows' | 'queued' | 'floods' | 'outcomes'> {
    const { isFetching } = this.options.levels;
    const nodes = this.all();
    const knowsBytes = nodes.some((node) => node.views().some(({ spec }) => knownKvBytes(spec) !== undefined));
    const { bytes, tokens, ...totals } = this.totals(nodes);
    return {
      atMs,
      engines: nodes.flatMap((node) =>
        node.views().map((view) => engineSnapshot(node, view, isFetching?.(view.spec.engineId))),
      ),
      gpus: nodes.flatMap((node) => node.gpuMemory().map((gpu) => ({ nodeId: node.nodeId, ...gpu }))),
      kv: knowsBytes ? { unit: 'bytes', ...bytes } : { unit: 'tokens', ...tokens },
      ...totals,
    };
  }

  /** What the nodes have counted, and those before them that are gone. */
  private totals(nodes: readonly NodeService[]): Totals {
    const { gone } = this;
    const bytes = { reservedByteSeconds: 0, maxTokenByteSeconds: 0, usedByteSeconds: 0, ...gone?.bytes };
    const tokens = { reservedByteSeconds: 0, maxTokenByteSeconds: 0, usedByteSeconds: 0, ...gone?.tokens };
    const coldStarts = { count: 0, requestSeconds: 0, ...gone?.coldStarts };
    const moves = { sleeps: 0, wakes: 0, failures: 0, ...gone?.moves };
    let preemptions = gone?.preemptions ?? 0;
    for (const stats of nodes.map((node) => node.stats())) {
      const { unsized, ...sized } = stats.kv;
      bytes.reservedByteSeconds += sized.reservedByteMs / 1000;
      bytes.maxTokenByteSeconds += sized.maxTokenByteMs / 1000;
      bytes.usedByteSeconds += sized.usedByteMs / 1000;
      tokens.reservedByteSeconds += unsized.reservedTokenMs / 1000;
      tokens.maxTokenByteSeconds += unsized.maxTokenMs / 1000;
      tokens.usedByteSeconds += unsized.usedTokenMs / 1000;
      moves.sleeps += stats.moves.sleeps;
      moves.wakes += stats.moves.wakes;
      moves.failures += stats.moves.failures;
      coldStarts.count += stats.moves.wakes;
      coldStarts.requestSeconds += stats.coldStarts.requestMs / 1000;
      preemptions += stats.preemptions;
    }
    return { bytes, tokens, coldStarts, moves, preemptions };
  }

  private openCluster(clusterId: string): ClusterService {
    const { config, clock } = this.options.levels;
    const interactive = config.classes.filter(({ kind }) => kind === 'interactive');
    const cluster = new ClusterService({
      clusterId,
      router: new ClusterRouter({ clusterId, lookAhead: config.scheduling.lookAhead }),
      nodes: [],
      clock,
      interactiveClasses: new Set(interactive.map(({ name }) => name)),
      epoch: LOCAL_EPOCH,
    });
    this.clusters.set(clusterId, cluster);
    return cluster;
  }

  private enter(node: NodeService, clusterId: string): void {
    const cluster = this.clusters.get(clusterId)!;
    this.clusterOf.set(node.nodeId, cluster);
    cluster.join(node);
  }

  private open(spec: NodeSpec, stateDir: string | undefined): NodeService {
    const { levels, waiting, onChange } = this.options;
    const { config, clock, wallClock, logger, engineApiKeys, engineTls } = levels;
    const { lookAhead, minResidencyMs, prefetch, firstSleep, weights } = config.scheduling;
    const telemetry = levels.telemetry?.(spec.nodeId);
    const failedGpus = levels.failedGpus?.(spec.nodeId);
    const availableBytes = levels.hostAvailableBytes?.(spec);
    return new NodeService({
      spec,
      clock,
      wallClock,
      manager: {
        ...{ lookAhead, minResidencyMs, prefetch, firstSleep, eviction: EVICTION_POLICIES[weights], ...waiting },
        kvState: levels.prediction?.state?.nodes?.[spec.nodeId],
      },
      ...(telemetry ? { telemetry } : {}),
      ...(failedGpus ? { failedGpus } : {}),
      ...(availableBytes ? { host: { memory: this.hostMemory, availableBytes } } : {}),
      ...(levels.onRefused ? { onRefused: levels.onRefused } : {}),
      apiKey: (engineId) => engineApiKeys?.get(engineId),
      tls: engineTls,
      onFound: () => {
        onChange();
        levels.onFound?.();
      },
      ...(stateDir === undefined ? {} : { stateDir }),
      logger,
    });
  }
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
