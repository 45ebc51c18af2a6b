import { describe, expect, it } from 'vitest';
import { RankBalancer, type RankLoad } from './rank-balancer.js';

const load = (running: number, waiting = 0, kvUsage = 0): RankLoad => ({ running, waiting, kvUsage });

/** The ranks chosen one after the other; a request that is sent runs at once. */
function chosen(loads: readonly RankLoad[], requests: number): number[] {
  const balancer = new RankBalancer();
  const ranks = [...loads];
  return Array.from({ length: requests }, () => {
    const index = balancer.choose(ranks, (rank) => rank);
    ranks[index] = { ...ranks[index]!, running: ranks[index]!.running + 1 };
    return index;
  });
}

describe('RankBalancer', () => {
  it('goes round among equals', () => {
    expect(chosen([load(0), load(0), load(0)], 6)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('takes the one with the fewest requests, waiting or running', () => {
    expect(chosen([load(3), load(1, 1), load(0)], 4)).toEqual([2, 2, 2, 1]);
  });

  it('avoids a queue before a KV pool that is more than half full', () => {
    const balancer = new RankBalancer();
    const loads = (kvUsage: number) => [load(4, 2, kvUsage), load(8)];
    expect(balancer.choose(loads(0.5), (rank) => rank)).toBe(0);
    // 6 + 2 × 6 × 0.2 = 8.4
    expect(balancer.choose(loads(0.7), (rank) => rank)).toBe(1);
  });

  it('looks at all ranks, wherever it begins', () => {
    const balancer = new RankBalancer();
    const ranks = [load(1), load(1), load(0)];
    expect([1, 2, 3, 4].map(() => balancer.choose(ranks, (rank) => rank))).toEqual([2, 2, 2, 2]);
  });
});
