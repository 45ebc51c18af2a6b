import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** One engine with two seats, and room for another one. */
function node(): NodeManager {
  const manager = new NodeManager(testNode([testEngine('a')]), { lookAhead: 0 });
  bringUp(manager, { a: 0 });
  return manager;
}

describe('an engine that leaves its node', () => {
  it('takes nothing new, ends what runs, and sends away what waits', () => {
    const manager = node();
    for (const stageId of ['s1', 's2', 's3']) manager.reserve(testDemand(stageId, 'a'), 1);
    manager.keep('a', { session: 'x', tokens: 500, untilMs: 1_000 }, 1);
    manager.leave('a', 'for-good', 2);
    expect(brief(manager.tick(2))).toEqual(['release s3 engine-leaving']);
    expect(manager.view('a')).toMatchObject({ state: 'leaving', leases: 2, keptKvTokens: 0, readyInMs: Infinity });
    expect(manager.reserve(testDemand('s4', 'a'), 3)).toMatchObject({ kind: 'refuse', reason: 'engine-leaving' });
    manager.release('s1', {}, 4);
    manager.keep('a', { session: 'y', tokens: 500, untilMs: 1_000 }, 4);
    expect([brief(manager.tick(4)), manager.view('a')]).toMatchObject([[], { leases: 1, keptKvTokens: 0 }]);
    expect(() => manager.forget('a', 4)).toThrow(/work on it/);
  });

  it('is not over while a call of an earlier process with other ranks has not ended', () => {
    const spec = testEngine('a', { dataParallel: 2, chosenRanks: 2 });
    const manager = new NodeManager(testNode([spec]), { lookAhead: 0 });
    bringUp(manager, { a: 0 });
    manager.reserve(testDemand('s1', 'a'), 1);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 2);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0, limits: { chosenRanks: 1 } }, 3);
    manager.leave('a', 'for-good', 4);
    expect(manager.isOver('a', 4)).toBe(false);
    expect(() => manager.forget('a', 4)).toThrow(/work on it/);
    manager.release('s1', {}, 5);
    expect(manager.isOver('a', 5)).toBe(true);
    manager.forget('a', 5);
  });

  it('stays where it is to stay after all', () => {
    const manager = node();
    manager.leave('a', 'for-good', 1);
    manager.leave('a', undefined, 2);
    expect(manager.view('a')).toMatchObject({ state: 'running', readyInMs: 0 });
    expect(manager.reserve(testDemand('s', 'a'), 3).kind).toBe('grant');
  });

  it('drains for those who look on, where it is to come back', () => {
    const manager = node();
    manager.leave('a', 'to-return', 1);
    expect(manager.view('a')).toMatchObject({ state: 'draining', readyInMs: Infinity });
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 2);
    expect(manager.view('a')!.state).toBe('down');
  });

  it('is nowhere once it is forgotten: its memory is free, its name unknown, and another may have it', () => {
    const manager = node();
    manager.reserve(testDemand('s', 'a'), 1);
    manager.changed();
    manager.leave('a', 'for-good', 2);
    manager.release('s', {}, 3);
    manager.forget('a', 4);
    expect([manager.views(), manager.changed(), manager.view('a')]).toEqual([[], [], undefined]);
    expect(manager.ledger.gpuUsedBytes(0)).toBe(0);
    expect(manager.reserve(testDemand('t', 'a'), 5)).toMatchObject({ kind: 'refuse', reason: 'unknown-engine' });
    expect(manager.start('a', false, 5)).toBe(false);
    manager.join(testEngine('a', { gpuIndices: [1], kvGiB: 5 }), 6);
    expect(manager.changed()).toEqual(['a']);
    expect(manager.view('a')!.state).toBe('down');
    bringUp(manager, { a: 0 }, 7);
    expect(manager.reserve(testDemand('u', 'a'), 8).kind).toBe('grant');
    expect([0, 1].map((gpu) => manager.ledger.gpuUsedBytes(gpu))).toEqual([0, 36 * GiB]);
  });

  it('starts no process any more', () => {
    const manager = new NodeManager(testNode([testEngine('a')]));
    manager.start('a', false, 0);
    manager.tick(0);
    expect(manager.start('a', false, 1)).toBe(true);
    manager.leave('a', 'for-good', 2);
    expect([manager.start('a', false, 3), manager.ledger.gpuUsedBytes(0)]).toEqual([false, 0]);
  });

  it('leaves no copy of its weights behind that nobody else reads', () => {
    const specs = ['a', 'b'].map((id) => testEngine(id, { weightsFolder: `/models/${id}` }));
    const staging = { folder: '/ram', memoryBytes: 100 * GiB };
    const manager = new NodeManager(testNode(specs, { hostMemoryBytes: 110 * GiB, staging }), { prefetch: false });
    bringUp(manager, { a: 2, b: 2 });
    for (const id of ['a', 'b']) {
      manager.engineEvent({ kind: 'staged', folder: `/models/${id}`, bytes: 30 * GiB }, 1);
      manager.tick(1);
    }
    manager.leave('a', 'for-good', 2);
    manager.forget('a', 2);
    expect(brief(manager.tick(2))).toEqual(['unstage /models/a']);
    manager.engineEvent({ kind: 'unstaged', folder: '/models/a' }, 3);
    expect([brief(manager.tick(3)), manager.stats().stagedBytes]).toEqual([[], 30 * GiB]);
  });

  it('is put to sleep before it is forgotten, where others of its GPU are to have its room', () => {
    const manager = new NodeManager(testNode([testEngine('a'), testEngine('b')]), { lookAhead: 0 });
    bringUp(manager, { a: 0, b: 1 });
    manager.reserve(testDemand('s', 'a'), 1);
    manager.leave('a', 'for-good', 2);
    expect(brief(manager.tick(2))).toEqual([]);
    manager.release('s', {}, 3);
    expect([brief(manager.tick(3)), manager.isOver('a', 3)]).toEqual([['sleep a 1'], false]);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 10);
    expect(manager.isOver('a', 10)).toBe(true);
    manager.forget('a', 10);
    manager.reserve(testDemand('t', 'b'), 11);
    expect(brief(manager.tick(11))).toEqual(['wake b 1']);
  });

  it.each([
    ['has them to itself', [testEngine('a')], 'for-good'],
    ['is ended', [testEngine('a'), testEngine('b')], 'to-end'],
    ['comes back', [testEngine('a'), testEngine('b')], 'to-return'],
    ['cannot sleep', [testEngine('a', { sleepCapable: false }), testEngine('b')], 'for-good'],
  ] as const)('not where it %s', (_, engines, leaving) => {
    const manager = new NodeManager(testNode(engines));
    bringUp(manager, { a: 0 });
    manager.leave('a', leaving, 1);
    expect([brief(manager.tick(1)), manager.isOver('a', 1)]).toEqual([[], true]);
  });

  it('is forgotten awake where its sleep fails', () => {
    const manager = new NodeManager(testNode([testEngine('a'), testEngine('b')]));
    bringUp(manager, { a: 0, b: 1 });
    manager.leave('a', 'for-good', 1);
    expect(brief(manager.tick(1))).toEqual(['sleep a 1']);
    manager.engineEvent({ kind: 'sleep-failed', engineId: 'a' }, 2);
    expect([brief(manager.tick(2)), manager.isOver('a', 2)]).toEqual([[], true]);
  });
});
