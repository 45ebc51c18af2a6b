import { describe, expect, it } from 'vitest';
import type { Demand } from '../model/fleet.js';
import { GiB } from '../model/units.js';
import type { NodeConfig } from './config.js';
import { EVICTION_POLICIES } from './evict.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** Two engines that take turns on a GPU; `a` is awake. */
function node(config: Partial<NodeConfig> = {}, changes: Parameters<typeof testEngine>[1] = {}) {
  const manager = new NodeManager(testNode([testEngine('a', { seats: 8, ...changes }), testEngine('b', changes)]), {
    ...{ lookAhead: 0, eviction: EVICTION_POLICIES.lru, minResidencyMs: 5_000, maxHoldWaitMs: 60_000 },
    ...config,
  });
  bringUp(manager, { a: 0, b: 1 });
  manager.changed();
  return manager;
}

const batch = (stageId: string, engineId: string, orderKey = 50) =>
  testDemand(stageId, engineId, { interactive: false, sloClass: 'batch', restartable: true, orderKey });

describe('the reclaim ladder, least disturbing first', () => {
  it('1: takes back KV memory that is lent and not promised', () => {
    const elastic = { kvLeastBytes: 2 * GiB, kvBytesPerToken: GiB / 1024, kvPoolTokens: 20_480 };
    const manager = node({}, elastic);
    manager.reserve(testDemand('busy', 'a'), 100);
    const { disturbanceMs } = manager.view('b')!;
    manager.reserve(testDemand('s', 'b'), 100);
    expect(brief(manager.tick(100))).toEqual(['kv-limit a 16']);
    expect(disturbanceMs).toBeLessThan(200);
  });

  it('2: puts an idle engine to sleep, at the cost of its sleep and wake', () => {
    const manager = node();
    const { disturbanceMs } = manager.view('b')!;
    manager.reserve(testDemand('s', 'b'), 100);
    expect(brief(manager.tick(100))).toEqual(['sleep a 1']);
    expect(disturbanceMs).toBeGreaterThan(1_000);
  });

  describe('3: pauses batch stages at their boundary', () => {
    it('while an interactive stage waits for room, a busy engine takes interactive stages, and batch stages only before it in the order', () => {
      const manager = node();
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(testDemand('s', 'b', { orderKey: 10 }), 100);
      expect(brief(manager.tick(100))).toEqual([]);
      expect(manager.reserve(batch('b0', 'a', 1), 200).kind).toBe('grant');
      manager.release('b0', {}, 200);
      expect(manager.reserve(batch('b2', 'a'), 200)).toMatchObject({ kind: 'hold' });
      expect(manager.reserve(testDemand('i1', 'a', { orderKey: 99 }), 200).kind).toBe('grant');
      manager.release('i1', {}, 250);
      // The boundary: the batch stage that ran is over, and the engine sleeps although another batch stage waits for it.
      manager.release('b1', {}, 300);
      expect(brief(manager.tick(300))).toEqual(['sleep a 1']);
    });

    it('also where an earlier batch stage waits for the same model', () => {
      const manager = node();
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(batch('first', 'b', 5), 100);
      manager.reserve(testDemand('s', 'b', { orderKey: 10 }), 100);
      manager.tick(100);
      expect(manager.reserve(batch('b2', 'a'), 200).kind).toBe('hold');
    });

    it('no longer than that one can be in time', () => {
      const manager = node();
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(testDemand('s', 'b', { orderKey: 10, keyChange: { atMs: 300, orderKey: 1e9 } }), 100);
      manager.tick(100);
      manager.reserve(batch('b2', 'a'), 200);
      expect(manager.tick(200)).toEqual([]);
      expect(manager.nextTickMs()).toBe(300);
      expect(brief(manager.tick(300))).toEqual(['grant b2']);
    });

    it('and goes on as before when nobody waits any more', () => {
      const manager = node();
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(testDemand('s', 'b'), 100);
      manager.tick(100);
      manager.reserve(batch('b2', 'a'), 200);
      expect(manager.tick(200)).toEqual([]);
      manager.cancel('s', 300);
      expect(brief(manager.tick(300))).toEqual(['grant b2']);
    });

    it.each([
      ['a batch stage does not do that to others', {}, false],
      ['it can be switched off', { pauseBatch: false }, true],
    ])('%s', (_, config, interactive) => {
      const manager = node(config);
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(testDemand('s', 'b', { interactive, orderKey: 10 }), 100);
      manager.tick(100);
      expect(manager.reserve(batch('b2', 'a'), 200).kind).toBe('grant');
    });
  });

  it('4: stops admitting and waits, when the hold is due', () => {
    const manager = node({ requeueBatch: false });
    manager.reserve(batch('b1', 'a'), 10_100);
    manager.reserve(testDemand('s', 'b', { orderKey: 10 }), 10_100);
    expect(brief(manager.tick(10_100))).toEqual([]);
    expect(manager.view('a')?.state).toBe('draining');
    expect(manager.reserve(testDemand('late', 'a', { orderKey: 60 }), 10_200)).toMatchObject({ reason: 'draining' });
    const { readyInMs } = manager.view('b')!;
    expect(readyInMs).toBeGreaterThan(1_000);
  });

  describe('5: stops batch stages and queues them again', () => {
    it('where what they have done is less than the wait for them', () => {
      const manager = node();
      manager.reserve(batch('b1', 'a'), 10_000);
      manager.reserve(testDemand('s', 'b', { orderKey: 10 }), 10_100);
      expect(brief(manager.tick(10_100))).toEqual(['requeue b1']);
      expect(manager.view('a')?.state).toBe('draining');
      manager.release('b1', {}, 10_110);
      expect(brief(manager.tick(10_110))).toEqual(['sleep a 1']);
    });

    it.each([
      ['one of them is interactive', testDemand('x', 'a', { orderKey: 50 }), 10, {}],
      ['one cannot be started again', { ...batch('x', 'a'), restartable: false }, 10, {}],
      ['it is switched off', batch('x', 'a'), 10, { requeueBatch: false }],
    ])('not where %s', (_, other, orderKey, config) => {
      const manager = node(config);
      manager.reserve(batch('b1', 'a'), 10_000);
      manager.reserve(other, 10_000);
      manager.reserve(testDemand('s', 'b', { orderKey }), 10_100);
      expect(manager.tick(10_100)).toEqual([]);
      expect(manager.view('a')?.state).toBe('draining');
    });

    it('not where more would be lost than waiting costs', () => {
      const manager = node({ pauseBatch: false });
      manager.reserve(batch('b1', 'a'), 100);
      manager.reserve(batch('b2', 'a'), 100);
      manager.reserve(testDemand('s', 'b', { orderKey: 10 }), 60_000);
      expect(manager.tick(60_000)).toEqual([]);
      expect(manager.view('a')?.state).toBe('draining');
    });
  });

  it('6: lets a held stage move elsewhere when its engine is gone for good', () => {
    const manager = node({ retry: { baseMs: 10, maxMs: 10, maxFailures: 1 } });
    manager.reserve(testDemand('s', 'b'), 100);
    manager.tick(100);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 200);
    manager.tick(200);
    manager.engineEvent({ kind: 'wake-failed', engineId: 'b' }, 300);
    expect(brief(manager.tick(300))).toContain('release s engine-failed');
  });
});

describe('which sleeping model is woken first', () => {
  /** `b` and `c` ask for the room of `a`, which is idle; there is room for one of them. */
  function woken(firstWaitingKey: NodeConfig['firstWaitingKey'], keyChange?: Demand['keyChange']): string[] {
    const manager = new NodeManager(testNode([testEngine('a'), testEngine('b'), testEngine('c')]), {
      lookAhead: 0,
      eviction: EVICTION_POLICIES.lru,
      prefetch: false,
      firstWaitingKey,
    });
    bringUp(manager, { a: 0, b: 1, c: 1 });
    manager.reserve(testDemand('sb', 'b', { orderKey: 50 }), 100);
    manager.reserve(testDemand('sc', 'c', { orderKey: 20, keyChange }), 100);
    manager.tick(100);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 200);
    return brief(manager.tick(200));
  }

  it('the one with the most urgent stage, held or waiting for it in the queue', () => {
    expect(woken(() => Number.POSITIVE_INFINITY)).toEqual(['wake c 1']);
    expect(woken((model) => (model === 'b' ? 5 : 60))).toEqual(['wake b 1']);
  });

  it('not the one whose stage has turned late while it was held', () => {
    expect(woken(() => Number.POSITIVE_INFINITY, { atMs: 150, orderKey: 1e9 })).toEqual(['wake b 1']);
    expect(woken(() => Number.POSITIVE_INFINITY, { atMs: 201, orderKey: 1e9 })).toEqual(['wake c 1']);
  });
});

describe('preemptions inside vLLM', () => {
  it('count: fewer seats, more memory kept for each promise, and the router sees them', () => {
    const manager = node({}, { kvLeastBytes: GiB, kvBytesPerToken: GiB / 1024, kvPoolTokens: 20_480 });
    for (const stageId of ['s1', 's2', 's3', 's4']) manager.reserve(testDemand(stageId, 'a', { kvTokens: 4096 }), 1);
    const counters = { kind: 'counters', engineId: 'a', running: 4, waiting: 0, kvUsage: 0.9 } as const;
    manager.engineEvent({ ...counters, preemptionsTotal: 0 }, 6_000);
    manager.engineEvent({ ...counters, preemptionsTotal: 3 }, 12_000);
    const view = manager.view('a')!;
    expect(view.seats).toBeLessThan(4);
    expect(view.enginePreemptions).toBeCloseTo(3, 0);
    expect(manager.stats().preemptions).toBe(3);
    // 16 of 20 GiB are promised; with a margin of 30 % all is kept, and b has to wait for the engine itself.
    manager.reserve(testDemand('s5', 'b', { kvTokens: 1024, orderKey: -1 }), 12_000);
    expect(brief(manager.tick(12_000))).not.toContain('kv-limit a 16');
  });
});
