import { describe, expect, it } from 'vitest';
import {
  drainVictims,
  EVICTION_POLICIES,
  EVICTION_POLICY_NAMES,
  type EvictionCandidate,
  idleVictims,
} from './evict.js';

const { lru, lfu, value } = EVICTION_POLICIES;

function candidate(engineId: string, changes: Partial<EvictionCandidate> = {}): EvictionCandidate {
  return {
    engineId,
    gpuIndices: [0],
    bytesFreed: 10,
    leases: 0,
    lastUsedMs: 0,
    lastGrantOrderKey: 0,
    reloadMs: 1000,
    uses: 0,
    expectedUses: 0,
    ...changes,
  };
}

describe('idleVictims', () => {
  it('takes the least recently used first', () => {
    const candidates = [candidate('new', { lastUsedMs: 9 }), candidate('old', { lastUsedMs: 1 })];
    expect(idleVictims(lru, [{ gpu: 0, bytes: 5 }], candidates)).toEqual(['old']);
  });

  it('leaves out what proves needless once a bigger one is taken', () => {
    const candidates = [
      candidate('small', { lastUsedMs: 1, bytesFreed: 4 }),
      candidate('big', { lastUsedMs: 2, bytesFreed: 20 }),
    ];
    expect(idleVictims(lru, [{ gpu: 0, bytes: 15 }], candidates)).toEqual(['big']);
  });

  it('covers every GPU of a TP group and passes over engines that help nowhere', () => {
    const candidates = [
      candidate('elsewhere', { gpuIndices: [2] }),
      candidate('first', { gpuIndices: [0], lastUsedMs: 1 }),
      candidate('second', { gpuIndices: [1], lastUsedMs: 2 }),
    ];
    const need = [
      { gpu: 0, bytes: 5 },
      { gpu: 1, bytes: 5 },
    ];
    expect(idleVictims(lru, need, candidates)).toEqual(['first', 'second']);
  });

  it('says so when all together do not suffice', () => {
    expect(idleVictims(lru, [{ gpu: 0, bytes: 50 }], [candidate('a'), candidate('b')])).toBeUndefined();
  });
});

describe('drainVictims', () => {
  it('takes idle engines before busy ones, and of those the one that works latest in the order', () => {
    const candidates = [
      candidate('urgent', { leases: 1, lastGrantOrderKey: 5 }),
      candidate('later', { leases: 3, lastGrantOrderKey: 50 }),
      candidate('idle', { lastUsedMs: 99 }),
    ];
    expect(drainVictims(lru, [{ gpu: 0, bytes: 10 }], candidates)).toEqual(['idle']);
    expect(drainVictims(lru, [{ gpu: 0, bytes: 20 }], candidates)).toEqual(['idle', 'later']);
  });
});

describe('what keeping a model is worth', () => {
  const first = (policy: typeof value, candidates: EvictionCandidate[]) =>
    idleVictims(policy, [{ gpu: 0, bytes: 1 }], candidates);

  it.each([
    ['lfu: the least used', lfu, { uses: 1, lastUsedMs: 99 }, { uses: 5, lastUsedMs: 1 }],
    ['value: the least likely to be needed', value, { expectedUses: 0.1 }, { expectedUses: 2 }],
    ['value: the quickest to reload', value, { expectedUses: 1, reloadMs: 100 }, { expectedUses: 1, reloadMs: 900 }],
    ['value: the largest', value, { expectedUses: 1, bytesFreed: 40 }, { expectedUses: 1, bytesFreed: 10 }],
  ])('%s goes first', (_, policy, goes, stays) => {
    expect(first(policy, [candidate('stays', stays), candidate('goes', goes)])).toEqual(['goes']);
    expect(first(policy, [candidate('goes', goes), candidate('stays', stays)])).toEqual(['goes']);
  });

  it('only the value policy asks for a price', () => {
    const wanted = candidate('a', { expectedUses: 3, reloadMs: 500 });
    expect([lru, lfu].map(({ costMs }) => costMs(wanted))).toEqual([0, 0]);
    expect(value.costMs(wanted)).toBeCloseTo(450);
  });

  it('every policy is listed under its name', () => {
    expect(EVICTION_POLICY_NAMES.map((name) => EVICTION_POLICIES[name].name)).toEqual([...EVICTION_POLICY_NAMES]);
    expect(Object.keys(EVICTION_POLICIES).sort()).toEqual([...EVICTION_POLICY_NAMES].sort());
  });
});
