import { describe, expect, it } from 'vitest';
import type { Demand, EngineSpec } from '../model/fleet.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** An engine with three ranks of two seats and 1,000 KV tokens each. */
const RANKED: Partial<EngineSpec> = { dataParallel: 3, chosenRanks: 3, seats: 6, kvPoolTokens: 3_000 };

function node(changes: Partial<EngineSpec> = {}): NodeManager {
  const manager = new NodeManager(testNode([testEngine('e', { ...RANKED, ...changes })]), { lookAhead: 0 });
  bringUp(manager, { e: 0 });
  return manager;
}

let stages = 0;
const ask = (manager: NodeManager, rank: number | undefined, changes: Partial<Demand> = {}) =>
  manager.reserve(testDemand(changes.stageId ?? `s${stages++}`, 'e', { rank, kvTokens: 200, ...changes }), 0);

describe('an engine whose ranks are told apart', () => {
  it('lets calls in where their rank has a seat, and says which rank each lease has', () => {
    const manager = node();
    expect(ask(manager, 1)).toMatchObject({ kind: 'grant', lease: { rank: 1 } });
    expect(ask(manager, 1).kind).toBe('grant');
    expect(ask(manager, 1)).toMatchObject({ kind: 'hold', reason: 'seats-full' });
    expect(ask(manager, 2).kind).toBe('grant');
    expect(manager.view('e')).toMatchObject({ leases: 4, ranks: [{ leases: 0 }, { leases: 3 }, { leases: 1 }] });
  });

  it('lets calls in where their rank has KV memory, whatever the others have', () => {
    const manager = node();
    expect(ask(manager, 0, { kvTokens: 800 }).kind).toBe('grant');
    expect(ask(manager, 0, { kvTokens: 300 })).toMatchObject({ kind: 'hold', reason: 'kv-full' });
    expect(ask(manager, 1, { kvTokens: 300 }).kind).toBe('grant');
    expect(ask(manager, 1, { kvTokens: 1_001 })).toMatchObject({ kind: 'refuse', reason: 'too-large' });
    expect(manager.view('e')).toMatchObject({
      reservedKvTokens: 1_100,
      ranks: [{ reservedKvTokens: 800 }, { reservedKvTokens: 300 }, { reservedKvTokens: 0 }],
    });
  });

  it('has a line for each rank: one that is full stops nobody who waits for another', () => {
    const manager = node();
    for (const rank of [0, 0, 1, 1]) ask(manager, rank, { stageId: `runs-${rank}-${stages++}` });
    const runs = manager.view('e')!.leases;
    expect(runs).toBe(4);
    ask(manager, 0, { stageId: 'first', orderKey: 1 });
    ask(manager, 1, { stageId: 'second', orderKey: 2 });
    ask(manager, 1, { stageId: 'third', orderKey: 3 });
    expect(ask(manager, 2, { stageId: 'elsewhere', orderKey: 9 }).kind).toBe('grant');
    expect(brief(manager.tick(1))).toEqual([]);
    manager.release(`runs-1-${stages - 1}`, {}, 2);
    expect(brief(manager.tick(2))).toEqual(['grant second']);
    manager.release('second', {}, 3);
    expect(brief(manager.tick(3))).toEqual(['grant third']);
    // Nobody who comes later passes the line of the rank.
    expect(ask(manager, 0, { stageId: 'late', orderKey: 5 }).kind).toBe('hold');
    manager.release(`runs-0-${stages - 4}`, {}, 4);
    expect(brief(manager.tick(4))).toEqual(['grant first']);
  });

  it('keeps room for a context on the rank that has it', () => {
    const manager = node();
    manager.keep('e', { session: 'agent', tokens: 900, untilMs: 100, rank: 1 }, 0);
    expect(manager.view('e')).toMatchObject({
      keptKvTokens: 900,
      ranks: [{ keptKvTokens: 0 }, { keptKvTokens: 900 }, { keptKvTokens: 0 }],
    });
    expect(ask(manager, 1)).toMatchObject({ kind: 'hold', reason: 'kv-full' });
    // What another rank keeps for the session is no room here.
    expect(ask(manager, 0, { kvTokens: 1_000, session: 'agent' }).kind).toBe('grant');
    expect(manager.view('e')).toMatchObject({ keptKvTokens: 0 });
    expect(brief(manager.tick(1)).length).toBe(1);
  });

  it('reads the memory of each rank, and takes all for as full as the fullest where it is not told of each', () => {
    const counters = {
      kind: 'counters',
      engineId: 'e',
      running: 2,
      waiting: 0,
      preemptionsTotal: 0,
      kvUsage: 0.9,
    } as const;
    const shown = (ranks?: readonly { running: number; kvUsage: number }[]) => {
      const manager = node();
      for (const rank of [0, 1, 2]) ask(manager, rank, { kvTokens: 100 });
      manager.engineEvent({ ...counters, ...(ranks ? { ranks } : {}) }, 1_000);
      return manager.view('e')!.ranks!.map(({ reservedKvTokens }) => reservedKvTokens);
    };
    const told = [
      { running: 1, kvUsage: 0.9 },
      { running: 1, kvUsage: 0.3 },
      { running: 0, kvUsage: 0 },
    ];
    expect(shown(told)).toEqual([900, 300, 100]);
    expect(shown()).toEqual([900, 900, 900]);
  });

  it('takes a demand without a rank, or for one that there is not, to where the least runs', () => {
    const manager = node();
    ask(manager, 0);
    expect(ask(manager, undefined)).toMatchObject({ lease: { rank: 1 } });
    expect(ask(manager, 7)).toMatchObject({ lease: { rank: 2 } });
  });

  it('is one again where its process turns out to have other ranks: nobody is sent to one that is not there', () => {
    const manager = node();
    for (let count = 0; count < 2; count++) ask(manager, 2);
    ask(manager, 2, { stageId: 'held' });
    manager.engineEvent({ kind: 'engine-up', engineId: 'e', level: 0, limits: { chosenRanks: 1 } }, 10);
    const [granted] = manager.tick(10);
    expect(granted).toMatchObject({ kind: 'grant', lease: { stageId: 'held', rank: undefined } });
    expect(manager.view('e')!.ranks).toBeUndefined();
    expect(ask(manager, 2)).toMatchObject({ kind: 'grant', lease: { rank: undefined } });
  });

  it('wakes for stages of any rank, and lets each in on its own', () => {
    const manager = new NodeManager(testNode([testEngine('e', RANKED)]), { lookAhead: 0 });
    bringUp(manager, { e: 1 });
    for (const rank of [0, 2, 2, 2]) expect(ask(manager, rank).kind).toBe('hold');
    expect(brief(manager.tick(0))).toEqual(['wake e 1']);
    manager.engineEvent({ kind: 'woke', engineId: 'e' }, 500);
    const ranks = manager.tick(500).map((action) => action.kind === 'grant' && action.lease.rank);
    expect(ranks).toEqual([0, 2, 2]);
  });
});
