import { describe, expect, it } from 'vitest';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

const SESSION = 'agent';
const KEPT = { session: SESSION, tokens: 8_000, untilMs: 5_000 };

function runningNode(changes: Parameters<typeof testEngine>[1] = {}): NodeManager {
  const manager = new NodeManager(testNode([testEngine('a', changes), testEngine('b', { weightGiB: 40 })]));
  bringUp(manager, { a: 0, b: 1 });
  manager.keep('a', KEPT, 0);
  return manager;
}
const reserve = (manager: NodeManager, stageId: string, kvTokens: number, nowMs = 0, session?: string) =>
  manager.reserve(testDemand(stageId, 'a', { kvTokens, ...(session === undefined ? {} : { session }) }), nowMs).kind;

describe('kept contexts', () => {
  it('count as taken for others, not for their own session', () => {
    const manager = runningNode();
    expect(manager.view('a')!.keptKvTokens).toBe(8_000);
    expect(reserve(manager, 's1', 2_001)).toBe('hold');
    manager.cancel('s1', 0);
    expect(reserve(manager, 's2', 2_000)).toBe('grant');
    expect(reserve(manager, 's3', 8_000, 1, SESSION)).toBe('grant');
    expect(manager.view('a')!.keptKvTokens).toBe(0);
  });

  it('are given up when their time is over, and who waited for the room gets it', () => {
    const manager = runningNode();
    expect(reserve(manager, 's1', 3_000)).toBe('hold');
    expect(manager.tick(4_999)).toEqual([]);
    expect(manager.nextTickMs()).toBe(5_000);
    expect(brief(manager.tick(5_000))).toEqual(['grant s1']);
    expect(manager.view('a')!.keptKvTokens).toBe(0);
  });

  it('are gone when the engine sleeps or dies', () => {
    const manager = runningNode();
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 10);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 20);
    expect(manager.view('a')!.keptKvTokens).toBe(0);
    manager.keep('b', KEPT, 30);
    expect(manager.view('b')!.keptKvTokens).toBe(0);
  });

  it('are not kept in a pool that is lent', () => {
    expect(runningNode({ kvLeastBytes: 1 }).view('a')!.keptKvTokens).toBe(0);
  });
});
