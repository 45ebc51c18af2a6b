import { describe, expect, it } from 'vitest';
import type { NodeSpec } from '../../src/model/fleet.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { runSimulation } from '../simulation.js';
import { nodesOf } from './node-variant.js';

const workflows = randomWorkflows(60, 4, 200);
const { nodes } = testScenario(SMALL_FLEET, []);
// Small enough to be awake side by side.
const shared = nodes.map((node) => ({
  ...node,
  engines: node.engines.map((engine) => ({ ...engine, weightBytes: Math.min(engine.weightBytes, 30 * 2 ** 30) })),
}));

describe('nodesOf', () => {
  it('leaves nodes as they are, and fixes lent pools', () => {
    expect(nodesOf(shared)).toBe(shared);
    const lent = shared.map((node) => ({
      ...node,
      engines: node.engines.map((each) => ({ ...each, kvLeastBytes: 1 })),
    }));
    expect(nodesOf(lent, { elasticKv: false })).toEqual(shared);
  });

  it('without co-location lets one engine of a GPU be awake at a time, and leaves those alone that have one to themselves', () => {
    const apart = nodesOf(shared, { coLocation: false });
    expect(apart[1]).toEqual(shared[1]);
    const [one, other] = apart[0]!.engines;
    const needed = [one!, other!].reduce((sum, { weightBytes, kvPoolBytes }) => sum + weightBytes + kvPoolBytes, 0);
    const { memoryBytes } = apart[0]!.gpus[0]!;
    expect(needed).toBeGreaterThan(memoryBytes);
    // What sleepers leave on the GPU is not theirs to take.
    const left = one!.residueBytes + other!.residueBytes;
    expect(left).toBeGreaterThan(0);
    for (const { weightBytes, kvPoolBytes } of [one!, other!]) {
      expect((weightBytes + kvPoolBytes + left) / memoryBytes).toBeCloseTo(0.92, 6);
    }
    const awake = (fleet: readonly NodeSpec[]) => {
      const { fleet: seen } = runSimulation(testScenario(SMALL_FLEET, workflows, { nodes: fleet, detail: 'timeline' }));
      const byTime = new Map<number, number>();
      for (const { atMs, nodeId, state } of seen.samples) {
        if (nodeId === 'a' && state === 'running') byTime.set(atMs, (byTime.get(atMs) ?? 0) + 1);
      }
      return Math.max(...byTime.values());
    };
    expect([awake(shared), awake(apart)]).toEqual([2, 1]);
  });
});
