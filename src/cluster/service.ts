import type { EngineEndpoint } from '../bus/contract.js';
import { ChurnMap } from '../model/churn-map.js';
import type { Clock, Timer } from '../model/clock.js';
import type {
  CapacityChanges,
  Demand,
  EngineView,
  KeptContext,
  Lease,
  LeaseUse,
  OrderPlace,
  PlaceExplanation,
  RequeueReason,
  ReserveResult,
} from '../model/fleet.js';
import type { Prediction, Stage } from '../model/stage.js';
import type { NodeListener } from '../node/listener.js';
import type { HoldEnd } from '../node/open-holds.js';
import { type DemandingCluster, demandOf } from './demand.js';
import { placeName } from './engine-record.js';
import { LOOK_AGAIN_MS, longestWaitMs, MAX_TRIES, MOST_MOVES } from './moving.js';
import type { ClusterRouter } from './router.js';
import { type ModelPresence, ServedModels } from './served-models.js';

/** What a router needs of a node's agent; a function call in one process, a stream between processes. */
export interface NodeLink {
  readonly nodeId: string;
  /** A `hold` is followed by one call of `onHoldEnd`, unless it is cancelled first. */
  reserve(demand: Demand, onHoldEnd: (end: HoldEnd) => void): ReserveResult;
  cancel(stageId: string): void;
  firstToken(stageId: string): void;
  release(stageId: string, use: LeaseUse): void;
  keep(engineId: string, context: KeptContext): void;
  endpoint(engineId: string): EngineEndpoint | undefined;
  /** The data path got no connection to the engine; `refused` where nobody listens. */
  reportUnreachable(engineId: string, refused: boolean): void;
  /** Whether the engine did its part of a request that it had. */
  reportAnswer(engineId: string, answered: boolean): void;
  listen(listener: NodeListener): void;
  /** Engines whose view has changed since the last call. */
  changedViews(): readonly EngineView[];
  views(): readonly EngineView[];
  view(engineId: string): EngineView | undefined;
}

export interface PlacementListener {
  /** The stage is to leave its engine, and to start again later. True when nothing of it goes on: it has left its engine then. */
  requeue(reason: RequeueReason): boolean;
  started(lease: Lease, endpoint: EngineEndpoint, explanation: PlaceExplanation): void;
  /** Nothing took the stage: it goes back to the global queue. */
  bounced(reason: string, explanation: PlaceExplanation): void;
}

interface Placement {
  readonly stage: Stage;
  readonly prediction: Prediction;
  readonly order: OrderPlace;
  readonly listener: PlacementListener;
  /** Engines that refused or failed this stage, and ranks that it has waited for in vain. */
  excluded: ReadonlySet<string>;
  state: 'placing' | 'held' | 'leased';
  node: NodeLink | undefined;
  engineId: string | undefined;
  rank: number | undefined;
  /** When the lease of a leased one began. */
  leasedAtMs: number;
  explanation: PlaceExplanation;
  waitTimer: Timer | undefined;
  /** How often it has left an engine for another while it was held. */
  moves: number;
}

export interface ClusterServiceOptions extends DemandingCluster {
  readonly clusterId: string;
  readonly router: ClusterRouter;
  readonly nodes: readonly NodeLink[];
  readonly clock: Clock;
}

const NO_EXPLANATION: PlaceExplanation = { candidates: [], refusals: {} };

/** Level 2, live: turns placements of the router into reservations on nodes, and their changes into capacity for the global level. */
export class ClusterService {
  private readonly placements = new ChurnMap<Placement>();
  private readonly nodes = new Map<string, NodeLink>();
  private readonly served = new ServedModels();
  /** Nodes with changes that have not been fetched. */
  private changedNodes: NodeLink[] = [];
  private capacityListener: (() => void) | undefined;
  /** The listener knows that there are changes to fetch. */
  private told = false;

  constructor(private readonly options: ClusterServiceOptions) {
    for (const node of options.nodes) this.join(node);
  }

  /** A further node of the cluster. */
  join(node: NodeLink): void {
    this.nodes.set(node.nodeId, node);
    this.absorb(node.views());
    node.listen({
      requeue: (stageId, reason) => this.requeue(stageId, reason),
      changed: () => {
        this.changedNodes.push(node);
        this.capacityMayDiffer();
      },
      gone: (engineId) => {
        this.forget(engineId);
        this.capacityMayDiffer();
      },
    });
  }

  /** The node is no part of the cluster any more; its engines are gone. */
  leave(nodeId: string): void {
    this.nodes.delete(nodeId);
    this.changedNodes = this.changedNodes.filter((node) => node.nodeId !== nodeId);
  }

  /** Is the engine a part of the cluster, and not about to leave it? */
  has(engineId: string): boolean {
    this.fetchViews();
    return this.served.has(engineId);
  }

  /** `listener` hears that capacity may have changed, once until somebody fetches it with {@link capacityChanges}. */
  onCapacity(listener: () => void): void {
    this.capacityListener = listener;
    this.capacityMayDiffer();
  }

  /**
   * Models whose capacity has changed since the last call; undefined where nothing has happened. It is asked for when a stage waits, and not told at every change:
   * while there is room, nobody needs to know how much.
   */
  capacityChanges(nowMs: number): CapacityChanges | undefined {
    if (!this.told) return undefined;
    this.told = false;
    this.fetchViews();
    return this.options.router.capacityChanges(nowMs);
  }

  models(): ReadonlyMap<string, ModelPresence> {
    this.fetchViews();
    return this.served.all();
  }

  place(
    stage: Stage,
    prediction: Prediction,
    order: OrderPlace,
    excluded: ReadonlySet<string>,
    nowMs: number,
    listener: PlacementListener,
  ): void {
    const placement: Placement = {
      stage,
      prediction,
      order,
      listener,
      excluded,
      state: 'placing',
      node: undefined,
      engineId: undefined,
      rank: undefined,
      leasedAtMs: 0,
      explanation: NO_EXPLANATION,
      waitTimer: undefined,
      moves: 0,
    };
    this.placements.set(stage.stageId, placement);
    this.tryPlace(placement, nowMs);
  }

  firstToken(stageId: string): void {
    this.placements.get(stageId)?.node?.firstToken(stageId);
  }

  /** Ends whatever the stage has here: a lease, a hold or nothing. `answered`: whether the engine did its part, where that is known. */
  finish(stageId: string, use: LeaseUse, nowMs: number, answered?: boolean): void {
    const placement = this.placements.get(stageId);
    if (!placement) return;
    this.placements.delete(stageId);
    placement.waitTimer?.cancel();
    const { node, engineId, state } = placement;
    if (state === 'leased') {
      node?.release(stageId, use);
      if (engineId && answered !== undefined) node?.reportAnswer(engineId, answered);
      if (engineId) this.options.router.ended(engineId, nowMs - placement.leasedAtMs);
    } else if (state === 'held') node?.cancel(stageId);
  }

  /** The context of a stage that has ended on the engine stays there until then. */
  keep(nodeId: string, engineId: string, context: KeptContext): void {
    this.nodes.get(nodeId)?.keep(engineId, context);
    this.options.router.keep(engineId, context);
  }

  /** The engine of a leased stage did not take the connection: the lease ends and the node looks at its engine. */
  engineUnreachable(stageId: string, refused: boolean): void {
    const placement = this.placements.get(stageId);
    const engineId = placement?.engineId;
    if (engineId) placement.node?.reportUnreachable(engineId, refused);
    this.finish(stageId, {}, this.options.clock.nowMs());
  }

  private requeue(stageId: string, reason: RequeueReason): boolean {
    const placement = this.placements.get(stageId);
    if (placement?.state !== 'leased' || !placement.listener.requeue(reason)) return false;
    this.finish(stageId, {}, this.options.clock.nowMs());
    return true;
  }

  private tryPlace(placement: Placement, nowMs: number): void {
    const { router } = this.options;
    const { stage } = placement;
    placement.state = 'placing';
    placement.node = undefined;
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      this.fetchViews();
      const place = router.place(stage, placement.prediction, nowMs, placement.excluded);
      placement.explanation = place.explanation;
      if (place.kind === 'bounce') {
        this.bounce(placement, place.reason);
        return;
      }
      const { engineId } = place;
      const node = this.nodes.get(place.nodeId);
      const demand = demandOf(stage, placement.prediction, placement.order, place, this.options);
      const reservation = node?.reserve(demand, (end) => this.holdEnded(placement, end));
      if (!node || !reservation || reservation.kind === 'refuse') {
        // The router has counted the stage there, and nothing has changed that would tell it otherwise.
        const view = node?.view(engineId);
        if (view) this.absorb([view]);
        exclude(placement, engineId);
        continue;
      }
      placement.node = node;
      placement.engineId = engineId;
      placement.rank = place.rank;
      router.sent(stage, engineId, place.rank);
      placement.state = 'held';
      if (reservation.kind === 'grant') this.start(placement, reservation.lease);
      else if (place.kind === 'hold') this.limitWait(placement, place.waitMs);
      else this.lookAgain(placement);
      return;
    }
    this.bounce(placement, 'refused-by-nodes');
  }

  private start(placement: Placement, lease: Lease): void {
    const endpoint = placement.node?.endpoint(lease.engineId);
    if (!endpoint) throw new Error(`node granted a lease on an engine it does not have: ${lease.engineId}`);
    placement.state = 'leased';
    placement.leasedAtMs = this.options.clock.nowMs();
    placement.waitTimer?.cancel();
    placement.listener.started(lease, endpoint, placement.explanation);
  }

  private holdEnded(placement: Placement, end: HoldEnd): void {
    const { stageId } = placement.stage;
    if (this.placements.get(stageId) !== placement || placement.state !== 'held') {
      // The stage has left meanwhile; a lease that nobody wants goes back at once.
      if (end.kind === 'grant') placement.node?.release(stageId, {});
      return;
    }
    if (end.kind === 'grant') {
      this.start(placement, end.lease);
      return;
    }
    this.leaveEngine(placement);
    this.tryPlace(placement, this.options.clock.nowMs());
  }

  private limitWait(placement: Placement, waitMs: number): void {
    placement.waitTimer = this.options.clock.after(longestWaitMs(waitMs), () => {
      if (placement.state !== 'held') return;
      placement.node?.cancel(placement.stage.stageId);
      this.leaveEngine(placement);
      this.tryPlace(placement, this.options.clock.nowMs());
    });
  }

  /** A stage that is held looks now and then whether another engine would have it done sooner. Its client waits at the gateway and hears nothing of it. */
  private lookAgain(placement: Placement): void {
    if (placement.moves === MOST_MOVES) return;
    const { clock, router } = this.options;
    placement.waitTimer = clock.after(LOOK_AGAIN_MS, () => {
      const { node, engineId, rank, stage, prediction, excluded } = placement;
      if (placement.state !== 'held' || !node || !engineId) return;
      this.fetchViews();
      if (!router.leaves(stage, prediction, { engineId, rank }, clock.nowMs(), excluded)) {
        this.lookAgain(placement);
        return;
      }
      placement.moves += 1;
      node.cancel(stage.stageId);
      this.tryPlace(placement, clock.nowMs());
    });
  }

  private leaveEngine(placement: Placement): void {
    placement.waitTimer?.cancel();
    const { engineId, rank } = placement;
    if (engineId) exclude(placement, placeName(engineId, rank));
  }

  private bounce(placement: Placement, reason: string): void {
    this.placements.delete(placement.stage.stageId);
    // The global level has counted on a start that did not come.
    this.capacityMayDiffer();
    placement.listener.bounced(reason, placement.explanation);
  }

  /** Views are fetched when they are about to be used, so that several changes of an engine cost one. */
  private fetchViews(): void {
    const { changedNodes } = this;
    for (let node = changedNodes.pop(); node; node = changedNodes.pop()) this.absorb(node.changedViews());
  }

  private absorb(views: readonly EngineView[]): void {
    for (const view of views) {
      if (view.state === 'leaving') {
        this.forget(view.spec.engineId);
        continue;
      }
      this.options.router.update(view);
      this.served.update(view);
    }
  }

  private forget(engineId: string): void {
    this.options.router.remove(engineId);
    this.served.remove(engineId);
  }

  private capacityMayDiffer(): void {
    if (this.told || !this.capacityListener) return;
    this.told = true;
    this.capacityListener();
  }
}

/** The set that came with the stage is not ours to change; most stages never need one of their own. */
function exclude(placement: Placement, name: string): void {
  placement.excluded = new Set(placement.excluded).add(name);
}
