import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** Host RAM pins nothing; so every sleep drops the weights. Copies of two of the three checkpoints of 30 GiB fit. */
function node(engines = ['a', 'b', 'c'], memoryGiB = 60): NodeManager {
  const specs = engines.map((id) => testEngine(id, { weightsFolder: `/models/${id}` }));
  const staging = { folder: '/ram', memoryBytes: memoryGiB * GiB };
  return new NodeManager(testNode(specs, { hostMemoryBytes: (memoryGiB + 10) * GiB, staging }), {
    lookAhead: 0,
    prefetch: false,
  });
}

const staged = (manager: NodeManager, id: string, nowMs: number, bytes = 30 * GiB) => {
  manager.engineEvent({ kind: 'staged', folder: `/models/${id}`, bytes }, nowMs);
  return brief(manager.tick(nowMs));
};
/** Wakes a sleeping engine for one stage, to the grant. */
function use(manager: NodeManager, id: string, nowMs: number): string[] {
  manager.reserve(testDemand(`s-${id}`, id), nowMs);
  const actions = brief(manager.tick(nowMs));
  manager.engineEvent({ kind: 'woke', engineId: id }, nowMs + 1);
  manager.engineEvent({ kind: 'canary-passed', engineId: id }, nowMs + 2);
  actions.push(...brief(manager.tick(nowMs + 2)));
  manager.release(`s-${id}`, {}, nowMs + 3);
  return [...actions, ...brief(manager.tick(nowMs + 3))];
}

describe('copies of checkpoints in RAM', () => {
  it('are made one after another, of what is asleep without its weights, as far as the memory goes', () => {
    const manager = node();
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 2 }, 0);
    expect(brief(manager.tick(0))).toEqual(['stage /models/a']);
    bringUp(manager, { b: 2, c: 2 });
    expect(brief(manager.tick(1))).toEqual([]);
    expect(staged(manager, 'a', 10_000)).toEqual(['stage /models/b']);
    expect(staged(manager, 'b', 20_000)).toEqual([]);
    expect(manager.stats().stagedBytes).toBe(60 * GiB);
  });

  it('are what a level-2 wake reads, and the router sees the shorter wait', () => {
    const manager = node(['a']);
    bringUp(manager, { a: 2 });
    const fromDisk = manager.view('a')!.readyInMs;
    staged(manager, 'a', 1);
    expect(manager.view('a')).toMatchObject({ weightFiles: 'host' });
    expect(manager.view('a')!.readyInMs).toBeLessThan(0.7 * fromDisk);
    manager.reserve(testDemand('s', 'a'), 2);
    expect(brief(manager.tick(2))).toEqual(['wake a 2 from host']);
  });

  it('make it cheaper for others to have the engine sleep again', () => {
    const manager = node(['a', 'b'], 60);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 2 }, 0);
    manager.tick(0);
    staged(manager, 'a', 1);
    manager.reserve(testDemand('s', 'a'), 10);
    manager.tick(10);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 6_500);
    manager.engineEvent({ kind: 'canary-passed', engineId: 'a' }, 6_600);
    manager.tick(6_600);
    manager.release('s', {}, 6_700);
    bringUp(manager, { b: 2 }, 6_800);
    const { disturbanceMs } = manager.view('b')!;
    // a sleeps at level 2 as before, and its weights are read again as they were, not copied over the link within a second.
    expect(disturbanceMs).toBeGreaterThan(6_500);
    manager.engineEvent({ kind: 'unstaged', folder: '/models/a' }, 6_900);
    manager.tick(6_900);
    // From disk nothing has been seen yet: 30 GiB at 3.5 GB/s.
    expect(manager.view('b')!.disturbanceMs).toBeGreaterThan(disturbanceMs + 1_000);
  });

  it('make way for the copy of a model that was used later; that of an awake one goes first', () => {
    const manager = node(['a', 'b', 'c'], 30);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 2 }, 0);
    manager.tick(0);
    staged(manager, 'a', 1);
    bringUp(manager, { b: 2 }, 2);
    // Nothing tells them apart: what is there stays.
    expect(brief(manager.tick(2))).toEqual([]);
    expect(use(manager, 'a', 10)).toEqual(['wake a 2 from host', 'canary a', 'grant s-a', 'unstage /models/a']);
    manager.engineEvent({ kind: 'unstaged', folder: '/models/a' }, 20);
    expect(brief(manager.tick(20))).toEqual(['stage /models/b']);
    expect(manager.view('a')).toMatchObject({ state: 'running', weightFiles: 'disk' });
  });

  it('are never deleted while an engine wakes from them', () => {
    const manager = node(['a', 'b'], 30);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 2 }, 0);
    manager.tick(0);
    staged(manager, 'a', 1);
    manager.reserve(testDemand('s', 'a'), 2);
    expect(brief(manager.tick(2))).toEqual(['wake a 2 from host']);
    bringUp(manager, { b: 2 }, 3);
    manager.reserve(testDemand('t', 'b'), 4);
    expect(brief(manager.tick(4))).not.toContain('unstage /models/a');
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 5);
    manager.engineEvent({ kind: 'canary-passed', engineId: 'a' }, 6);
    expect(brief(manager.tick(6))).toContain('unstage /models/a');
  });

  it('are shared by engines of one folder: there is never a second', () => {
    const folder = { weightsFolder: '/models/m', weightGiB: 20, kvGiB: 5 };
    const specs = [testEngine('a', folder), testEngine('b', { ...folder, gpuIndices: [1] })];
    const staging = { folder: '/ram', memoryBytes: 100 * GiB };
    const manager = new NodeManager(testNode(specs, { hostMemoryBytes: 100 * GiB, staging }), { prefetch: false });
    bringUp(manager, { a: 2, b: 2 });
    expect(manager.stats().stagedBytes).toBe(20 * GiB);
    expect(staged(manager, 'm', 1, 20 * GiB)).toEqual([]);
    expect(['a', 'b'].map((id) => manager.view(id)?.weightFiles)).toEqual(['host', 'host']);
  });

  it('that fail are tried again later, with the size that was found out', () => {
    const manager = node(['a', 'b'], 60);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 2 }, 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'stage-failed', folder: '/models/a', bytes: 70 * GiB }, 100);
    expect(brief(manager.tick(100))).toEqual([]);
    expect(manager.stats().stagedBytes).toBe(0);
    bringUp(manager, { b: 2 }, 200);
    expect(manager.stats().stagedBytes).toBe(30 * GiB);
    manager.engineEvent({ kind: 'stage-failed', folder: '/models/b' }, 300);
    manager.tick(300);
    expect(manager.nextTickMs()).toBe(60_300);
    // What is larger than the whole memory is never tried again.
    expect(brief(manager.tick(60_300))).toEqual(['stage /models/b']);
    // Ever later, and half an hour at most.
    let atMs = 60_300;
    for (const waitMs of [120_000, 240_000, 480_000, 960_000, 1_800_000, 1_800_000]) {
      manager.engineEvent({ kind: 'stage-failed', folder: '/models/b' }, atMs);
      manager.tick(atMs);
      expect(manager.nextTickMs() - atMs).toBe(waitMs);
      atMs = manager.nextTickMs();
      expect(brief(manager.tick(atMs))).toEqual(['stage /models/b']);
    }
  });

  it('from which a wake has failed are thrown away, and the next wake reads the disk', () => {
    const manager = node(['a']);
    bringUp(manager, { a: 2 });
    staged(manager, 'a', 1);
    manager.reserve(testDemand('s', 'a'), 2);
    manager.tick(2);
    manager.engineEvent({ kind: 'wake-failed', engineId: 'a' }, 10);
    expect(brief(manager.tick(10))).toEqual(['unstage /models/a']);
    expect(brief(manager.tick(1_000))).toEqual(['wake a 2']);
  });

  it('leave pinned memory what is not theirs', () => {
    const specs = [testEngine('a', { weightsFolder: '/models/a' }), testEngine('b')];
    const staging = { folder: '/ram', memoryBytes: 30 * GiB };
    const manager = new NodeManager(testNode(specs, { hostMemoryBytes: 50 * GiB, staging }), { prefetch: false });
    bringUp(manager, { a: 0, b: 1 });
    manager.reserve(testDemand('s', 'b'), 1);
    // 20 of the 50 GiB are left to pin, and the weights have 30.
    expect(brief(manager.tick(1))).toEqual(['sleep a 2']);
  });
});
