import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** On one GPU of 80 GiB: `a` takes 51 GiB, `b` 21, `c` 21, so not all can be awake. */
function node(config = {}, changes = {}): NodeManager {
  const small = { weightGiB: 10, kvGiB: 10 };
  const engines = [testEngine('a'), testEngine('b', small), testEngine('c', small)];
  return new NodeManager(testNode(engines, changes), { prefetch: false, firstSleep: true, ...config });
}

function settle(manager: NodeManager, kind: 'slept' | 'woke', engineId: string, nowMs: number): string[] {
  manager.engineEvent({ kind, engineId }, nowMs);
  return brief(manager.tick(nowMs));
}

describe('the first sleep after a start', () => {
  it('comes at once, one engine after another, each woken again before the next', () => {
    const manager = node();
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    manager.engineEvent({ kind: 'engine-up', engineId: 'b', level: 0 }, 0);
    expect(brief(manager.tick(0))).toEqual(['sleep a 1']);
    expect(settle(manager, 'slept', 'a', 15_000)).toEqual(['wake a 1']);
    expect(settle(manager, 'woke', 'a', 16_000)).toEqual(['sleep b 1']);
    expect(settle(manager, 'slept', 'b', 21_000)).toEqual(['wake b 1']);
    expect(settle(manager, 'woke', 'b', 22_000)).toEqual([]);
    expect(manager.view('a')?.state).toBe('running');
  });

  it('is left out for what is alone on its GPU, is pinned by the config, has slept before, or has been asked for', () => {
    const alone = new NodeManager(testNode([testEngine('a')]), { firstSleep: true });
    bringUp(alone, { a: 0 });
    expect(alone.view('a')?.state).toBe('running');

    const kept = new NodeManager(testNode([testEngine('a', { pinned: true }), testEngine('b')]), { firstSleep: true });
    bringUp(kept, { a: 0, b: 1 });
    expect(kept.view('a')?.state).toBe('running');

    const before = node();
    before.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0, slept: true }, 0);
    expect(brief(before.tick(0))).toEqual([]);

    const asked = node();
    asked.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    asked.reserve(testDemand('s', 'a'), 0);
    asked.tick(0);
    asked.release('s', {}, 10);
    expect(brief(asked.tick(10))).toEqual([]);
  });

  it('is left out where host RAM cannot pin the weights, and while a process starts', () => {
    const small = node({}, { hostMemoryBytes: 20 * GiB });
    small.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    expect(brief(small.tick(0))).toEqual([]);

    const starting = node();
    starting.start('b', false, 0);
    starting.tick(0);
    starting.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 1);
    expect(brief(starting.tick(1))).toEqual([]);
    starting.engineEvent({ kind: 'engine-up', engineId: 'b', level: 0 }, 2);
    expect(brief(starting.tick(2))).toEqual(['sleep a 1']);
  });

  it('is left out while stages wait in the queue for its model', () => {
    const queued = node({ demand: (model: string) => ({ queued: model === 'a' ? 3 : 0, expected: 0 }) });
    queued.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    expect(brief(queued.tick(0))).toEqual([]);
    queued.engineEvent({ kind: 'engine-up', engineId: 'b', level: 0 }, 1);
    expect(brief(queued.tick(1))).toEqual(['sleep b 1']);
  });

  it('does not keep a stage waiting longer than its wake, and does not bring back what others need the room of', () => {
    const manager = node();
    bringUp(manager, { a: 0 });
    manager.reserve(testDemand('s', 'a'), 5);
    expect(settle(manager, 'slept', 'a', 15_000)).toEqual(['wake a 1']);
    expect(settle(manager, 'woke', 'a', 16_000)).toEqual(['grant s']);

    const full = node();
    full.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    full.tick(0);
    bringUp(full, { b: 0, c: 0 }, 1);
    // 2 × 21 GiB and the residue of a leave less than its 50.
    expect(settle(full, 'slept', 'a', 15_000)).toEqual(['sleep b 1']);
    // Nor does it take the room that `b` left for its own first sleep.
    expect(settle(full, 'slept', 'b', 20_000)).toEqual(['wake b 1']);
  });
});

/** `a` is awake and has served, so it did not sleep at its start; `b` asleep. Weights of `a`: 30 GiB, which take 15 s to pin by what is assumed, and 9 to read again. */
function served(config = {}, limits = {}, engineId = 'a'): NodeManager {
  const manager = new NodeManager(testNode([testEngine('a'), testEngine('b')]), {
    ...{ prefetch: false, firstSleep: true },
    ...config,
  });
  manager.engineEvent({ kind: 'engine-up', engineId, level: 0, limits }, 0);
  manager.reserve(testDemand('first', engineId), 0);
  bringUp(manager, { b: 1 });
  manager.release('first', {}, 10);
  return manager;
}

/** A stage for the other engine, which is then awake, idle again, and has all the room. */
function swap(manager: NodeManager, engineId: string, nowMs: number): string[] {
  const stageId = `${engineId} ${nowMs}`;
  manager.reserve(testDemand(stageId, engineId), nowMs);
  const actions = brief(manager.tick(nowMs));
  const [sleeper] = actions[0]!.split(' ').slice(1);
  actions.push(...settle(manager, 'slept', sleeper!, nowMs + 300));
  actions.push(...settle(manager, 'woke', engineId, nowMs + 1_000));
  if (actions.at(-1) === `canary ${engineId}`) {
    manager.engineEvent({ kind: 'canary-passed', engineId }, nowMs + 10_500);
    actions.push(...brief(manager.tick(nowMs + 10_500)));
  }
  manager.release(stageId, {}, nowMs + 11_000);
  return actions.filter((action) => action.startsWith('sleep'));
}

describe('a sleep for which somebody waits, of a process that has never slept', () => {
  it('drops the weights, until reloads have cost as much as pinning them', () => {
    const manager = served();
    expect(manager.view('b')!.readyInMs).toBeLessThan(3_000);
    expect(swap(manager, 'b', 1_000)).toEqual(['sleep a 2']);
    expect(swap(manager, 'a', 20_000)).toEqual(['sleep b 1']);
    // A second reload would make it more than 16 s, which is what pinning takes.
    expect(manager.view('b')!.readyInMs).toBeGreaterThan(10_000);
    expect(swap(manager, 'b', 40_000)).toEqual(['sleep a 1']);
  });

  it('pins them where that is quick on this host, as another process has shown', () => {
    const manager = new NodeManager(testNode([testEngine('a'), testEngine('b'), testEngine('c')]), {
      ...{ prefetch: false, firstSleep: true },
    });
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 0);
    manager.reserve(testDemand('first', 'a'), 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'engine-up', engineId: 'c', level: 0 }, 0);
    expect(brief(manager.tick(0))).toEqual(['sleep c 1']);
    expect(settle(manager, 'slept', 'c', 3_000)).toEqual([]);
    bringUp(manager, { b: 1 }, 3_000);
    manager.release('first', {}, 3_000);
    expect(swap(manager, 'b', 4_000)).toEqual(['sleep a 1']);
  });

  it('pins them as ever where that is asked for, where dropping is not allowed, where the loader cannot read them again, and where it has failed', () => {
    expect(swap(served({ firstSleep: false }), 'b', 1_000)).toEqual(['sleep a 1']);
    expect(swap(served({ deepSleep: false }), 'b', 1_000)).toEqual(['sleep a 1']);
    expect(swap(served({}, { reloadsWeights: false }), 'b', 1_000)).toEqual(['sleep a 1']);

    const manager = served();
    swap(manager, 'b', 1_000);
    manager.reserve(testDemand('back', 'a'), 20_000);
    manager.tick(20_000);
    settle(manager, 'slept', 'b', 20_300);
    settle(manager, 'woke', 'a', 29_000);
    manager.engineEvent({ kind: 'canary-failed', engineId: 'a' }, 29_100);
    // Its next process answers as it should, and is not trusted with it again.
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 30_000);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 60_000);
    manager.reserve(testDemand('again', 'a'), 60_000);
    manager.tick(60_000);
    manager.release('again', {}, 60_100);
    expect(swap(manager, 'b', 61_000)).toEqual(['sleep a 1']);
  });
});
