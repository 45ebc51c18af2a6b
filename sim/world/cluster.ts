import { BaselineRouter } from '../../src/cluster/baseline-router.js';
import { type DemandingCluster, demandOf } from '../../src/cluster/demand.js';
import { placeName } from '../../src/cluster/engine-record.js';
import { LOOK_AGAIN_MS, longestWaitMs, MAX_TRIES, MOST_MOVES } from '../../src/cluster/moving.js';
import { ClusterRouter } from '../../src/cluster/router.js';
import type { KeptContext, LeaseUse } from '../../src/model/fleet.js';
import type { EventLoop } from '../event-loop.js';
import type { Placement } from '../types.js';
import type { Job } from './job.js';
import type { Link } from './link.js';
import type { SimNode } from './node.js';

export interface ClusterListener {
  /** The stage runs in `job.engineId` of `job.node` from now on. */
  started(job: Job, coldStartMs: number): void;
  bounced(job: Job, reason: string): void;
  capacityChanged(cluster: SimCluster): void;
}

const EPOCH = 1;
const NONE: ReadonlySet<string> = new Set();

interface ClusterConfig {
  /** From and to the global level. */
  readonly links: { readonly down: Link; readonly up: Link };
  readonly placement: Placement;
  readonly lookAhead: number;
  /** Names of the interactive classes. */
  readonly interactive: ReadonlySet<string>;
}

/** Level 2 in virtual time: asks the router, reserves at nodes, and looks elsewhere when that fails. The twin of the live cluster service. */
export class SimCluster {
  readonly router: ClusterRouter;
  readonly links: ClusterConfig['links'];
  /** Its capacity has changed, and the global level has not been told. */
  hasNews = false;
  private readonly demanding: DemandingCluster;
  private readonly nodes = new Map<string, SimNode>();
  private capacityDue = false;
  private readonly tellCapacity = () => {
    this.capacityDue = false;
    this.listener.capacityChanged(this);
  };

  constructor(
    readonly clusterId: string,
    config: ClusterConfig,
    private readonly loop: EventLoop,
    private readonly listener: ClusterListener,
  ) {
    const { placement, lookAhead } = config;
    this.links = config.links;
    this.demanding = { interactiveClasses: config.interactive, epoch: EPOCH };
    const given = { clusterId, lookAhead, explains: false };
    this.router = placement === 'maestro' ? new ClusterRouter(given) : new BaselineRouter(placement, given);
  }

  add(node: SimNode): void {
    this.nodes.set(node.spec.nodeId, node);
  }

  absorb(node: SimNode, engineIds: readonly string[]): void {
    for (const engineId of engineIds) this.router.update(node.view(engineId));
    this.announceCapacity();
  }

  place(job: Job): void {
    const { router, loop } = this;
    job.state = 'placing';
    job.node = undefined;
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const place = router.place(job.stage, job.prediction, loop.nowMs, job.excluded ?? NONE);
      if (place.kind === 'bounce') {
        this.listener.bounced(job, place.reason);
        return;
      }
      const { engineId } = place;
      const node = this.nodes.get(place.nodeId)!;
      const reservation = node.reserve(demandOf(job.stage, job.prediction, job.order, place, this.demanding));
      router.update(node.view(engineId));
      if (reservation.kind === 'refuse') {
        job.excluded ??= new Set();
        job.excluded.add(engineId);
        continue;
      }
      job.node = node;
      job.engineId = engineId;
      job.rank = place.rank;
      job.state = 'held';
      router.sent(job.stage, engineId, place.rank);
      if (reservation.kind === 'grant') this.listener.started(job, reservation.lease.coldStartMs);
      else if (place.kind === 'hold') this.limitWait(job, place.waitMs);
      else this.lookAgain(job);
      return;
    }
    this.listener.bounced(job, 'refused-by-nodes');
  }

  granted(job: Job, coldStartMs: number): void {
    this.stopWaiting(job);
    this.listener.started(job, coldStartMs);
  }

  /** The node let a held stage go: it looks elsewhere. */
  released(job: Job): void {
    this.leaveEngine(job);
    this.place(job);
  }

  /** Ends whatever the stage has here. */
  finish(job: Job, use: LeaseUse): void {
    this.stopWaiting(job);
    const { node, engineId, stage } = job;
    if (!node || engineId === undefined) return;
    if (job.state === 'held') node.cancel(stage.stageId);
    else {
      node.release(stage.stageId, use);
      this.router.ended(engineId, this.loop.nowMs - job.startedMs);
    }
    this.router.update(node.view(engineId));
    this.announceCapacity();
  }

  /** The context of a workflow stays on the engine where its stage has ended. */
  keep({ node, engineId, rank }: Job, kept: KeptContext): void {
    if (!node || engineId === undefined) return;
    const context = rank === undefined ? kept : { ...kept, rank };
    node.keep(engineId, context);
    this.router.keep(engineId, context);
    this.router.update(node.view(engineId));
    this.announceCapacity();
  }

  private limitWait(job: Job, waitMs: number): void {
    job.waitTimer = this.loop.after(longestWaitMs(waitMs), () => {
      job.waitTimer = undefined;
      if (job.state !== 'held') return;
      job.node!.cancel(job.stage.stageId);
      this.leaveEngine(job);
      this.place(job);
    });
  }

  /** A stage that is held looks now and then whether another engine would have it done sooner. */
  private lookAgain(job: Job): void {
    job.looks += 1;
    if (job.moves === MOST_MOVES) return;
    const { looks } = job;
    // It keeps no run going: a stage that nobody ever lets in would look for ever.
    this.loop.watch(LOOK_AGAIN_MS, () => {
      if (job.state !== 'held' || job.looks !== looks) return;
      const { stage, prediction, excluded, rank } = job;
      const node = job.node!;
      const engineId = job.engineId!;
      if (!this.router.leaves(stage, prediction, { engineId, rank }, this.loop.nowMs, excluded ?? NONE)) {
        this.lookAgain(job);
        return;
      }
      job.moves += 1;
      node.cancel(stage.stageId);
      this.router.update(node.view(engineId));
      this.place(job);
    });
  }

  private leaveEngine(job: Job): void {
    this.stopWaiting(job);
    const { engineId, node } = job;
    if (!node || engineId === undefined) return;
    job.excluded ??= new Set();
    job.excluded.add(placeName(engineId, job.rank));
    this.router.update(node.view(engineId));
  }

  private stopWaiting(job: Job): void {
    this.loop.cancel(job.waitTimer);
    job.waitTimer = undefined;
  }

  private announceCapacity(): void {
    if (this.capacityDue) return;
    this.capacityDue = true;
    this.loop.soon(this.tellCapacity);
  }
}
