import type { NodeSpec } from '../../src/model/fleet.js';
import { SeededRng } from '../../src/model/rng.js';
import type { NodeConfig } from '../../src/node/config.js';
import type { EventLoop } from '../event-loop.js';
import type { SimScenario } from '../types.js';
import { type ClusterListener, SimCluster } from './cluster.js';
import { sleepersOf } from './first-state.js';
import { Link } from './link.js';
import { type NodeListener, SimNode } from './node.js';

/** Levels 1 and 2 of a scenario. */
export interface SimFleet {
  readonly clusters: ReadonlyMap<string, SimCluster>;
  readonly nodes: readonly SimNode[];
  readonly clusterOf: ReadonlyMap<SimNode, SimCluster>;
  /** Longest context of any engine of a model. */
  readonly maxModelLen: ReadonlyMap<string, number>;
}

/** Plain balancers know nothing of ranks: each engine chooses for itself. */
function withoutRanks(spec: NodeSpec): NodeSpec {
  if (!spec.engines.some(({ chosenRanks }) => chosenRanks)) return spec;
  return { ...spec, engines: spec.engines.map(({ chosenRanks: _, ...engine }) => engine) };
}

export function buildFleet(
  scenario: SimScenario,
  nodeConfig: Partial<NodeConfig>,
  loop: EventLoop,
  listener: NodeListener & ClusterListener,
): SimFleet {
  const { classes, placement, lookAhead, rttMs, links, seed } = scenario;
  const clusters = new Map<string, SimCluster>();
  const clusterOf = new Map<SimNode, SimCluster>();
  const maxModelLen = new Map<string, number>();
  const interactive = new Set(classes.filter(({ kind }) => kind === 'interactive').map(({ name }) => name));
  const rng = new SeededRng(seed ^ 0x117);
  const nodes = scenario.nodes.map((spec) => {
    const { clusterId } = spec;
    let cluster = clusters.get(clusterId);
    if (!cluster) {
      const link = () => new Link(loop, (rttMs[clusterId] ?? 0) / 2, links, rng);
      const ways = { down: link(), up: link() };
      cluster = new SimCluster(clusterId, { links: ways, placement, lookAhead, interactive }, loop, listener);
      clusters.set(clusterId, cluster);
    }
    const node = new SimNode(
      placement === 'maestro' ? spec : withoutRanks(spec),
      nodeConfig,
      loop,
      listener,
      sleepersOf(spec.engines, spec.gpus),
    );
    cluster.add(node);
    clusterOf.set(node, cluster);
    for (const engine of spec.engines) {
      maxModelLen.set(engine.model, Math.max(maxModelLen.get(engine.model) ?? 0, engine.maxModelLen));
    }
    return node;
  });
  return { clusters, nodes, clusterOf, maxModelLen };
}
