import { describe, expect, it } from 'vitest';
import { NodeManager } from './manager.js';
import { brief, testDemand, testEngine, testNode } from './node-fixture.js';

/** On one GPU of 80 GiB: `a` and `b` take 51 GiB each, `c` 21. */
function node(config = {}): NodeManager {
  const engines = [testEngine('a'), testEngine('b'), testEngine('c', { weightGiB: 10, kvGiB: 10 })];
  return new NodeManager(testNode(engines), { prefetch: false, ...config });
}

const up = (manager: NodeManager, engineId: string, nowMs: number) => {
  manager.engineEvent({ kind: 'engine-up', engineId, level: 0 }, nowMs);
  manager.tick(nowMs);
};
/** Asks, lets the node plan, and asks again. */
function asked(manager: NodeManager, engineId: string, nowMs: number): boolean {
  manager.start(engineId, false, nowMs);
  manager.tick(nowMs);
  return manager.start(engineId, false, nowMs);
}

describe('a process that is to start', () => {
  it('may at once where its memory is free, and others then have less', () => {
    const manager = node();
    expect(asked(manager, 'a', 0)).toBe(true);
    expect(asked(manager, 'c', 0)).toBe(true);
    expect(manager.ledger.overcommittedBytes()).toBe(0);
    up(manager, 'a', 10);
    up(manager, 'c', 10);
    expect(manager.ledger.overcommittedBytes()).toBe(0);
  });

  it('waits until an idle neighbour has gone to sleep, and the room is not given to another meanwhile', () => {
    const manager = node();
    asked(manager, 'a', 0);
    up(manager, 'a', 1);
    manager.start('b', false, 2);
    expect(brief(manager.tick(2))).toEqual(['sleep a 1']);
    expect(manager.start('b', false, 3)).toBe(false);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 4);
    // Somebody wants `a` at this very moment: it has to wait for `b`.
    expect(manager.reserve(testDemand('s1', 'a'), 4).kind).toBe('hold');
    expect(brief(manager.tick(4))).toEqual([]);
    expect(manager.start('b', false, 5)).toBe(true);
    expect(manager.ledger.overcommittedBytes()).toBe(0);
    up(manager, 'b', 6);
    expect(manager.ledger.overcommittedBytes()).toBe(0);
  });

  it('empties a busy neighbour only when it has waited long and somebody wants the model', () => {
    let queued = 0;
    const demand = () => ({ queued, expected: 0 });
    const manager = node({ maxHoldWaitMs: 1_000, telemetryMaxAgeMs: 100, demand });
    asked(manager, 'a', 0);
    up(manager, 'a', 1);
    expect(manager.reserve(testDemand('s1', 'a'), 2).kind).toBe('grant');
    expect(asked(manager, 'b', 3)).toBe(false);
    expect(manager.view('a')!.state).toBe('running');
    expect(manager.nextTickMs()).toBeLessThanOrEqual(1_003);
    manager.tick(1_003);
    expect(manager.view('a')!.state).toBe('running');
    queued = 1;
    expect(manager.nextTickMs()).toBeLessThanOrEqual(1_103);
    manager.tick(1_103);
    expect(manager.view('a')!.state).toBe('draining');
    // The drain lasts as long as the start waits.
    manager.tick(1_500);
    expect(manager.view('a')!.state).toBe('draining');
    manager.release('s1', {}, 1_600);
    expect(brief(manager.tick(1_600))).toEqual(['sleep a 1']);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 1_700);
    manager.tick(1_700);
    expect(manager.start('b', false, 1_700)).toBe(true);
  });

  it('keeps nobody from memory that it cannot use yet', () => {
    const manager = node();
    asked(manager, 'a', 0);
    up(manager, 'a', 1);
    manager.reserve(testDemand('s1', 'a'), 2);
    manager.engineEvent({ kind: 'engine-up', engineId: 'c', level: 1 }, 3);
    manager.tick(3);
    // `b` needs 51 of the 27 GiB that are left beside the busy `a`; `c` needs 20.
    expect(asked(manager, 'b', 4)).toBe(false);
    expect(manager.reserve(testDemand('s2', 'c'), 5).kind).toBe('hold');
    expect(brief(manager.tick(5))).toEqual(['wake c 1']);
  });

  it('is let start at last where nobody can make room, for vLLM to judge', () => {
    const manager = new NodeManager(testNode([testEngine('a', { pinned: true }), testEngine('b')]), {
      maxHoldWaitMs: 1_000,
    });
    asked(manager, 'a', 0);
    up(manager, 'a', 1);
    expect(asked(manager, 'b', 10)).toBe(false);
    for (let nowMs = manager.nextTickMs(); nowMs < 2_010; nowMs = manager.nextTickMs()) {
      manager.tick(nowMs);
      expect(manager.start('b', false, nowMs)).toBe(false);
    }
    manager.tick(2_010);
    expect(manager.start('b', false, 2_010)).toBe(true);
  });

  it('gives its memory back when it ends before it serves, and begins anew with the next try', () => {
    const manager = node();
    expect(asked(manager, 'a', 0)).toBe(true);
    manager.start('a', true, 1);
    expect(manager.ledger.gpuUsedBytes(0)).toBe(0);
    expect(asked(manager, 'b', 2)).toBe(true);
    expect(asked(manager, 'a', 3)).toBe(false);
  });

  it('waits for the end of the process before to be seen', () => {
    const manager = node();
    asked(manager, 'a', 0);
    up(manager, 'a', 1);
    expect(asked(manager, 'a', 2)).toBe(false);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 3);
    expect(asked(manager, 'a', 3)).toBe(true);
  });
});
