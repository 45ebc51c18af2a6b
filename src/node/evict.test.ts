import { describe, expect, it } from 'vitest';
import { drainVictims, type EvictionCandidate, lruEviction } from './evict.js';

function candidate(engineId: string, changes: Partial<EvictionCandidate> = {}): EvictionCandidate {
  return {
    engineId,
    gpuIndices: [0],
    bytesFreed: 10,
    leases: 0,
    lastUsedMs: 0,
    lastGrantOrderKey: 0,
    reloadMs: 1000,
    ...changes,
  };
}

describe('lruEviction', () => {
  it('takes the least recently used first', () => {
    const candidates = [candidate('new', { lastUsedMs: 9 }), candidate('old', { lastUsedMs: 1 })];
    expect(lruEviction.victims([{ gpu: 0, bytes: 5 }], candidates, 10)).toEqual(['old']);
  });

  it('leaves out what proves needless once a bigger one is taken', () => {
    const candidates = [
      candidate('small', { lastUsedMs: 1, bytesFreed: 4 }),
      candidate('big', { lastUsedMs: 2, bytesFreed: 20 }),
    ];
    expect(lruEviction.victims([{ gpu: 0, bytes: 15 }], candidates, 10)).toEqual(['big']);
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
    expect(lruEviction.victims(need, candidates, 10)).toEqual(['first', 'second']);
  });

  it('says so when all together do not suffice', () => {
    expect(lruEviction.victims([{ gpu: 0, bytes: 50 }], [candidate('a'), candidate('b')], 10)).toBeUndefined();
  });
});

describe('drainVictims', () => {
  it('takes idle engines before busy ones, and of those the one that works latest in the order', () => {
    const candidates = [
      candidate('urgent', { leases: 1, lastGrantOrderKey: 5 }),
      candidate('later', { leases: 3, lastGrantOrderKey: 50 }),
      candidate('idle', { lastUsedMs: 99 }),
    ];
    expect(drainVictims([{ gpu: 0, bytes: 10 }], candidates)).toEqual(['idle']);
    expect(drainVictims([{ gpu: 0, bytes: 20 }], candidates)).toEqual(['idle', 'later']);
  });
});
