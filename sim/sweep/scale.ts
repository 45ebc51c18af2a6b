import type { NodeSpec } from '../../src/model/fleet.js';
import { repeatWorkflows } from './repeat.js';
import type { SweepWorkload } from './types.js';

/** Made once in a process: the bounds of a workload are kept by it. */
const made = new WeakMap<SweepWorkload, Map<number, SweepWorkload>>();

/** The fleet so many times, with as many times the traffic in the same time: no larger share of it can be in time for being more, but chance evens out and a scheduler has more to choose from. */
export function scaledWorkload(workload: SweepWorkload, times = 1): SweepWorkload {
  if (times === 1) return workload;
  const known = made.get(workload) ?? new Map<number, SweepWorkload>();
  made.set(workload, known);
  let scaled = known.get(times);
  if (!scaled) {
    const { workflows, nodes, capacitySpeed } = workload;
    scaled = {
      ...workload,
      nodes: Array.from({ length: times }, (_, copy) => nodes.map((node) => copyOf(node, copy))).flat(),
      workflows: repeatWorkflows(workflows, times),
      capacitySpeed: times * capacitySpeed,
    };
    known.set(times, scaled);
  }
  return scaled;
}

function copyOf(node: NodeSpec, copy: number): NodeSpec {
  if (copy === 0) return node;
  const nodeId = `${node.nodeId}~${copy}`;
  return {
    ...node,
    nodeId,
    engines: node.engines.map((engine) => ({ ...engine, nodeId, engineId: `${engine.engineId}~${copy}` })),
  };
}
