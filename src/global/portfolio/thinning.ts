import type { NodeSpec } from '../../model/fleet.js';

/**
 * A large fleet is judged by a part of it: one workflow in k on one node in k of each kind. Nodes are of a kind when they are in one cluster and have the same GPUs and engines.
 *
 * @returns All k that leave the same mix of nodes, in rising order; 1 is always among them.
 */
export function thinnings(nodes: readonly NodeSpec[]): number[] {
  const counts = [...groupsOf(nodes).values()].map((group) => group.length);
  const common = counts.reduce(greatestCommonDivisor, 0);
  return Array.from({ length: Math.max(1, common) }, (_, index) => index + 1).filter(
    (k) => k === 1 || common % k === 0,
  );
}

/** One node in `k` of each kind. */
export function thinNodes(nodes: readonly NodeSpec[], k: number): readonly NodeSpec[] {
  if (k === 1) return nodes;
  return [...groupsOf(nodes).values()].flatMap((group) => group.slice(0, Math.max(1, Math.round(group.length / k))));
}

function groupsOf(nodes: readonly NodeSpec[]): Map<string, NodeSpec[]> {
  const groups = new Map<string, NodeSpec[]>();
  for (const node of nodes) {
    const gpus = node.gpus.map(({ name }) => name);
    const engines = node.engines.map(({ model, gpuIndices, kvPoolTokens }) => [model, gpuIndices, kvPoolTokens]);
    const kind = JSON.stringify([node.clusterId, node.hostMemoryBytes, gpus, engines]);
    const group = groups.get(kind);
    if (group) group.push(node);
    else groups.set(kind, [node]);
  }
  return groups;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
