import type { CapacityChanges } from '../../src/model/fleet.js';
import type { EventLoop } from '../event-loop.js';
import type { SimCluster } from './cluster.js';
import type { GlobalLevel } from './global-level.js';
import type { Link } from './link.js';

/**
 * How the global level hears what clusters can start. Over a link that takes no time, news of room is told when somebody waits for it: three of four reports
 * would be replaced unread.
 */
export class CapacityNews {
  constructor(
    private readonly global: GlobalLevel,
    private readonly loop: EventLoop,
  ) {}

  /** What the cluster can start is not what was last told. */
  changed(cluster: SimCluster): void {
    if (cluster.links.up.immediate && !this.global.waits) cluster.hasNews = true;
    else this.tellChanges(cluster);
  }

  /** Somebody waits: what has been held back is told. */
  wanted(clusters: Iterable<SimCluster>): void {
    for (const cluster of clusters) if (cluster.hasNews) this.tellChanges(cluster);
  }

  /** Tells a process that knows nothing yet all that the cluster can start. */
  tellAll(cluster: SimCluster): void {
    this.tell(cluster, cluster.router.capacity(this.loop.nowMs));
  }

  private tellChanges(cluster: SimCluster): void {
    cluster.hasNews = false;
    this.tell(cluster, cluster.router.capacityChanges(this.loop.nowMs));
  }

  private tell({ links: { up } }: SimCluster, changes: CapacityChanges): void {
    if (up.immediate) this.global.capacityChanged(changes);
    else this.send(up, changes);
  }

  /** A function of its own: what a closure captures is allocated whenever the function around it is called, also where nothing is sent. */
  private send(up: Link, changes: CapacityChanges): void {
    let told = false;
    up.send(() => {
      if (told) return;
      told = true;
      this.global.capacityChanged(changes);
    });
  }
}
