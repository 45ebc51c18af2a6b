import { describe, expect, it } from 'vitest';
import type { NodeConfig } from './config.js';
import { EVICTION_POLICIES } from './evict.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** Three engines of which two fit on the GPU; `a` and `b` are awake. */
function threeEngines(config: Partial<NodeConfig> = {}, changes: Parameters<typeof testEngine>[1] = {}) {
  const engines = [
    testEngine('a', { weightGiB: 20, kvGiB: 15, ...changes }),
    testEngine('b', { weightGiB: 20, kvGiB: 15 }),
  ];
  const spec = testNode([...engines, testEngine('c', { weightGiB: 20, kvGiB: 15 })]);
  const manager = new NodeManager(spec, { lookAhead: 0, eviction: EVICTION_POLICIES.value, ...config });
  bringUp(manager, { a: 0, b: 0, c: 1 });
  return manager;
}

function use(manager: NodeManager, engineId: string, times: number, nowMs: number): void {
  for (let index = 0; index < times; index++) {
    const stageId = `${engineId}-${nowMs}-${index}`;
    manager.reserve(testDemand(stageId, engineId), nowMs);
    manager.release(stageId, {}, nowMs);
  }
  manager.tick(nowMs);
}

describe('what stays awake by `value`', () => {
  it('is the model that is used more, although the other was used last', () => {
    const manager = threeEngines();
    use(manager, 'a', 30, 1000);
    use(manager, 'b', 1, 2000);
    manager.reserve(testDemand('s', 'c'), 60_000);
    // Rent first: the hold has to have waited as long as the eviction is expected to make others wait.
    manager.tick(60_000);
    expect(brief(manager.tick(manager.nextTickMs()))).toEqual(['sleep b 1']);
  });

  it('is the model that running workflows need next', () => {
    const manager = threeEngines({ demand: (model) => ({ queued: 0, expected: model === 'b' ? 2 : 0 }) });
    use(manager, 'a', 3, 1000);
    use(manager, 'b', 1, 2000);
    manager.reserve(testDemand('s', 'c'), 200_000);
    manager.tick(200_000);
    expect(brief(manager.tick(manager.nextTickMs()))).toEqual(['sleep a 1']);
  });

  it('is never given up while the wait that this saves is less than the wait that it costs', () => {
    const manager = threeEngines({ demand: () => ({ queued: 0, expected: 4 }) });
    manager.reserve(testDemand('s1', 'c'), 100);
    expect(manager.tick(100)).toEqual([]);
    const aloneMs = manager.nextTickMs() - 100;
    expect(aloneMs).toBeGreaterThan(1000);
    // Two that wait have waited as much in half the time.
    manager.reserve(testDemand('s2', 'c'), 100);
    expect(manager.tick(100)).toEqual([]);
    expect(manager.nextTickMs() - 100).toBeCloseTo(aloneMs / 2, 0);
    expect(brief(manager.tick(manager.nextTickMs()))).toEqual(['sleep a 1']);
  });

  it('is given up after the longest wait whatever it costs', () => {
    const manager = threeEngines({ demand: () => ({ queued: 1e6, expected: 0 }), maxHoldWaitMs: 7000 });
    manager.reserve(testDemand('s1', 'c'), 100);
    manager.tick(100);
    expect(manager.nextTickMs()).toBe(7100);
    expect(brief(manager.tick(7100))).toEqual(['sleep a 1']);
  });

  it('is what is pinned', () => {
    const manager = threeEngines({}, { pinned: true });
    use(manager, 'b', 50, 50);
    manager.reserve(testDemand('s1', 'c'), 100);
    manager.tick(100);
    expect(brief(manager.tick(manager.nextTickMs()))).toEqual(['sleep b 1']);
  });
});

describe('prefetch', () => {
  const expecting = (expected: number) => ({
    demand: (model: string) => ({ queued: 0, expected: model === 'c' ? expected : 0 }),
  });

  function withRoom(config: Partial<NodeConfig>) {
    const engines = ['a', 'c'].map((engineId) => testEngine(engineId, { weightGiB: 20, kvGiB: 15 }));
    const manager = new NodeManager(testNode(engines), { lookAhead: 0, ...config });
    bringUp(manager, { a: 0 });
    manager.engineEvent({ kind: 'engine-up', engineId: 'c', level: 1 }, 0);
    return manager;
  }

  it('wakes what is expected into free room', () => {
    expect(brief(withRoom(expecting(1)).tick(0))).toEqual(['wake c 1']);
  });

  it.each([
    ['nobody is expected', expecting(0)],
    ['it is switched off', { ...expecting(1), prefetch: false }],
    ['the driver has not confirmed the room', { ...expecting(1), telemetry: true }],
  ])('does not when %s', (_, config) => {
    expect(withRoom(config).tick(0)).toEqual([]);
  });

  it('never puts anybody to sleep', () => {
    const manager = threeEngines(expecting(5));
    expect(manager.tick(1)).toEqual([]);
    expect(manager.tick(100_000)).toEqual([]);
  });

  it('lets what is asked for go first', () => {
    const engines = ['a', 'b', 'c'].map((engineId) => testEngine(engineId, { weightGiB: 20, kvGiB: 15 }));
    const manager = new NodeManager(testNode(engines), { lookAhead: 0, ...expecting(5) });
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 1 }, 0);
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.engineEvent({ kind: 'engine-up', engineId: 'c', level: 1 }, 0);
    expect(brief(manager.tick(0))).toEqual(['wake a 1']);
    // While one moves nothing is woken early: they would share the link.
    expect(manager.tick(10)).toEqual([]);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 500);
    expect(brief(manager.tick(500))).toEqual(['grant s1', 'wake c 1']);
  });
});
