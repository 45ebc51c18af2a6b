import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { EVICTION_POLICIES } from './evict.js';
import { NodeManager } from './manager.js';
import { brief, bringUp, testDemand, testEngine, testNode } from './node-fixture.js';

/** Two engines that take turns on GPU 0, and a third alone on GPU 1. */
function sharedNode(config = {}) {
  const spec = testNode([testEngine('a'), testEngine('b'), testEngine('c', { gpuIndices: [1] })]);
  const manager = new NodeManager(spec, { lookAhead: 0, minResidencyMs: 5000, ...config });
  bringUp(manager, { a: 0, b: 1, c: 0 });
  manager.changed();
  return manager;
}

describe('reserve and release', () => {
  it('grants while there are seats, holds the next, and grants it when a lease ends', () => {
    const manager = sharedNode();
    expect(manager.reserve(testDemand('s1', 'a'), 1)).toMatchObject({
      kind: 'grant',
      lease: { engineId: 'a', kvTokens: 200 },
    });
    expect(manager.reserve(testDemand('s2', 'a'), 1).kind).toBe('grant');
    expect(manager.reserve(testDemand('s3', 'a'), 1)).toMatchObject({ kind: 'hold', reason: 'seats-full' });
    expect(manager.tick(1)).toEqual([]);
    manager.release('s1', {}, 5);
    const [action] = manager.tick(5);
    expect(action).toMatchObject({ kind: 'grant', lease: { stageId: 's3', coldStartMs: 0 } });
    expect(manager.stats().coldStarts.count).toBe(0);
  });

  it.each([
    ['engines that cannot sleep: there is nothing to plan', false, Number.POSITIVE_INFINITY],
    ['engines of which one could sleep', true, 5],
  ])('when the last lease ends, on a node of %s', (_name, sleepCapable, nextMs) => {
    const manager = new NodeManager(
      testNode([testEngine('a', { sleepCapable: false }), testEngine('b', { sleepCapable })]),
    );
    bringUp(manager, { a: 0, b: 0 });
    manager.tick(0);
    manager.reserve(testDemand('s1', 'a'), 1);
    manager.tick(1);
    manager.release('s1', {}, 5);
    expect(manager.nextTickMs()).toBe(nextMs);
  });

  it('lets the look-ahead wait inside the engine', () => {
    const manager = sharedNode({ lookAhead: 1 });
    const kinds = ['s1', 's2', 's3', 's4'].map((stageId) => manager.reserve(testDemand(stageId, 'a'), 1).kind);
    expect(kinds).toEqual(['grant', 'grant', 'grant', 'hold']);
  });

  it('counts a seat for every answer that a stage asks for, and asks for one free one', () => {
    const manager = new NodeManager(testNode([testEngine('a', { seats: 4 })]), { lookAhead: 0 });
    bringUp(manager, { a: 0 });
    const ask = (stageId: string, sequences?: number) =>
      manager.reserve(testDemand(stageId, 'a', { sequences }), 1).kind;
    expect([ask('s1'), ask('s2', 2), ask('s3', 3), ask('s4', 2)]).toEqual(['grant', 'grant', 'grant', 'hold']);
    // Six seats are taken and two are waited for.
    expect(manager.view('a')).toMatchObject({ seats: 4, leases: 8 });
    manager.release('s2', {}, 2);
    expect(brief(manager.tick(2))).toEqual([]);
    manager.release('s1', {}, 3);
    expect(brief(manager.tick(3))).toEqual(['grant s4']);
    expect(manager.view('a')).toMatchObject({ leases: 5 });
    manager.release('s3', {}, 4);
    manager.release('s4', {}, 4);
    expect(manager.view('a')).toMatchObject({ leases: 0 });
  });

  it('forgets the preemptions of a process that has ended', () => {
    const manager = sharedNode();
    const counters = { kind: 'counters', engineId: 'a', running: 1, waiting: 0, kvUsage: 0 } as const;
    manager.engineEvent({ ...counters, preemptionsTotal: 0 }, 1_000);
    manager.engineEvent({ ...counters, preemptionsTotal: 5 }, 2_000);
    expect(manager.view('a')!.enginePreemptions).toBeGreaterThan(4);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 3_000);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 4_000);
    expect(manager.view('a')!.enginePreemptions).toBe(0);
  });

  it('learns seats in the sequences by which engines count', () => {
    const manager = new NodeManager(testNode([testEngine('a', { seats: 100 })]), { lookAhead: 0, seatDecrease: 0.5 });
    bringUp(manager, { a: 0 });
    for (let stage = 0; stage < 4; stage++) manager.reserve(testDemand(`s${stage}`, 'a', { sequences: 10 }), 1);
    const counters = { running: 40, waiting: 0, kvUsage: 0.5 };
    manager.engineEvent({ kind: 'counters', engineId: 'a', ...counters, preemptionsTotal: 0 }, 1_000);
    manager.engineEvent({ kind: 'counters', engineId: 'a', ...counters, running: 30, preemptionsTotal: 5 }, 20_000);
    expect(manager.view('a')).toMatchObject({ seats: 20 });
  });

  it('holds when the KV pool is promised away, and refuses what can never fit', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a', { kvTokens: 9000 }), 1);
    expect(manager.reserve(testDemand('s2', 'a', { kvTokens: 2000, orderKey: 5 }), 1)).toMatchObject({
      reason: 'kv-full',
    });
    expect(manager.reserve(testDemand('s3', 'a', { kvTokens: 10_001 }), 1)).toMatchObject({ reason: 'too-large' });
    // A small but later one does not overtake the head of the line; a small and earlier one does.
    expect(manager.reserve(testDemand('s4', 'a', { kvTokens: 10, orderKey: 6 }), 1).kind).toBe('hold');
    expect(manager.reserve(testDemand('s5', 'a', { kvTokens: 10, orderKey: 4 }), 1).kind).toBe('grant');
  });

  it('grants holds in the global order', () => {
    const manager = sharedNode();
    for (const stageId of ['s1', 's2']) manager.reserve(testDemand(stageId, 'a'), 1);
    manager.reserve(testDemand('late', 'a', { orderKey: 9 }), 2);
    manager.reserve(testDemand('early', 'a', { orderKey: 3 }), 3);
    manager.release('s1', {}, 4);
    expect(brief(manager.tick(4))).toEqual(['grant early']);
    manager.release('s2', {}, 5);
    expect(brief(manager.tick(5))).toEqual(['grant late']);
  });

  it('answers the same demand the same way, and moves a stage that asks for another engine', () => {
    const manager = sharedNode();
    const first = manager.reserve(testDemand('s1', 'a'), 1);
    expect(manager.reserve(testDemand('s1', 'a'), 2)).toEqual(first);
    expect(manager.reserve(testDemand('s1', 'b'), 3).kind).toBe('hold');
    expect(manager.view('a')?.leases).toBe(0);
    expect(manager.reserve(testDemand('s1', 'c'), 4).kind).toBe('grant');
    expect(manager.view('b')?.leases).toBe(0);
  });

  it('ends a lease once, by stage or lease id', () => {
    const manager = sharedNode();
    const answer = manager.reserve(testDemand('s~1', 'a'), 1);
    if (answer.kind !== 'grant') throw new Error('no grant');
    manager.release('s~1~999', {}, 2);
    expect(manager.stats().leases).toBe(1);
    manager.release(answer.lease.leaseId, {}, 2);
    manager.release('s~1', {}, 2);
    expect(manager.stats().leases).toBe(0);
    expect(manager.view('a')).toMatchObject({ leases: 0, reservedKvTokens: 0, pendingPrefillTokens: 0 });
  });

  it('counts prompts that wait for their first token', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a', { promptTokens: 70 }), 1);
    manager.reserve(testDemand('s2', 'a', { promptTokens: 5 }), 1);
    expect(manager.view('a')?.pendingPrefillTokens).toBe(75);
    manager.firstToken('s1', 2);
    manager.firstToken('s1', 2);
    expect(manager.view('a')?.pendingPrefillTokens).toBe(5);
    manager.release('s2', {}, 3);
    expect(manager.view('a')?.pendingPrefillTokens).toBe(0);
  });

  it('sums reserved, max-token and used KV over time, and counts overflows', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a', { promptTokens: 100, kvTokens: 200, maxKvTokens: 1000 }), 0);
    manager.release('s1', { promptTokens: 100, outputTokens: 50 }, 10);
    manager.reserve(testDemand('s2', 'a', { promptTokens: 100, kvTokens: 200 }), 20);
    manager.release('s2', { promptTokens: 100, outputTokens: 101 }, 30);
    expect(manager.stats().kv).toEqual({
      reservedByteMs: 0,
      maxTokenByteMs: 0,
      usedByteMs: 0,
      unsized: { reservedTokenMs: 4000, maxTokenMs: 12_000, usedTokenMs: 1250 + 1505 },
      ended: 2,
      overflows: 1,
    });
  });

  it('refuses what it does not know, what is down or failed, stale epochs and a full queue', () => {
    const manager = sharedNode({ maxHoldsPerEngine: 1 });
    expect(manager.reserve(testDemand('s1', 'ghost'), 1)).toMatchObject({ reason: 'unknown-engine' });
    expect(manager.reserve(testDemand('s2', 'a', { epoch: 7 }), 1).kind).toBe('grant');
    expect(manager.reserve(testDemand('s3', 'a', { epoch: 6 }), 1)).toMatchObject({ reason: 'stale-epoch' });
    manager.engineEvent({ kind: 'engine-down', engineId: 'c', reason: 'refused' }, 1);
    expect(manager.reserve(testDemand('s4', 'c', { epoch: 7 }), 1)).toMatchObject({ reason: 'engine-down' });
    expect(manager.reserve(testDemand('s5', 'b', { epoch: 7 }), 1).kind).toBe('hold');
    expect(manager.reserve(testDemand('s6', 'b', { epoch: 7 }), 1)).toMatchObject({ reason: 'queue-full' });
  });
});

describe('residency', () => {
  it('puts an idle engine to sleep, wakes the wanted one after that is confirmed, and grants with the cold start', () => {
    const manager = sharedNode();
    const answer = manager.reserve(testDemand('s1', 'b'), 100);
    expect(answer).toMatchObject({ kind: 'hold', reason: 'waking' });
    if (answer.kind === 'hold') expect(answer.etaMs).toBeGreaterThan(500);
    expect(brief(manager.tick(100))).toEqual(['sleep a 1']);
    expect(brief(manager.tick(150))).toEqual([]);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 900);
    expect(brief(manager.tick(900))).toEqual(['wake b 1']);
    manager.engineEvent({ kind: 'woke', engineId: 'b' }, 2000);
    expect(manager.tick(2000)).toMatchObject([{ kind: 'grant', lease: { stageId: 's1', coldStartMs: 1900 } }]);
    expect(manager.view('a')?.state).toBe('sleeping');
    expect(manager.stats()).toMatchObject({
      coldStarts: { count: 1, requestMs: 1900 },
      moves: { sleeps: 1, wakes: 1 },
    });
  });

  it('never puts a busy engine to sleep: it drains when the hold is due, and sleeps when its last lease has ended', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('busy', 'a', { orderKey: 50 }), 100);
    manager.reserve(testDemand('s1', 'b', { orderKey: 10 }), 100);
    expect(brief(manager.tick(100))).toEqual([]);
    const dueMs = manager.nextTickMs();
    expect(dueMs).toBeGreaterThanOrEqual(5000);
    expect(brief(manager.tick(dueMs))).toEqual([]);
    expect(manager.view('a')?.state).toBe('draining');
    expect(manager.reserve(testDemand('new', 'a', { orderKey: 60 }), dueMs)).toMatchObject({
      kind: 'hold',
      reason: 'draining',
    });
    manager.release('busy', {}, dueMs + 10);
    expect(brief(manager.tick(dueMs + 10))).toEqual(['sleep a 1']);
  });

  it('lets a later hold wait, but not for ever', () => {
    const manager = sharedNode({ maxHoldWaitMs: 30_000 });
    manager.reserve(testDemand('busy', 'a', { orderKey: 5 }), 100);
    manager.reserve(testDemand('s1', 'b', { orderKey: 10 }), 100);
    manager.tick(20_000);
    expect(manager.view('a')?.state).toBe('running');
    manager.tick(30_200);
    expect(manager.view('a')?.state).toBe('draining');
  });

  it('does not change places at once: the engine that was emptied waits out the least residency of the other', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('b1', 'b', { orderKey: 10 }), 100);
    manager.tick(100);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 200);
    manager.tick(200);
    manager.engineEvent({ kind: 'woke', engineId: 'b' }, 300);
    expect(brief(manager.tick(300))).toEqual(['grant b1']);
    manager.reserve(testDemand('a1', 'a', { orderKey: 1 }), 301);
    manager.tick(301);
    expect(manager.view('b')?.state).toBe('running');
    manager.tick(5301);
    expect(manager.view('b')?.state).toBe('draining');
  });

  it('takes a drain back when nobody waits for the room any more', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('busy', 'a', { orderKey: 50 }), 100);
    manager.reserve(testDemand('s1', 'b', { orderKey: 10 }), 100);
    manager.tick(60_000);
    manager.reserve(testDemand('held', 'a', { orderKey: 60 }), 60_001);
    manager.cancel('s1', 60_002);
    expect(brief(manager.tick(60_002))).toEqual(['grant held']);
    expect(manager.view('a')?.state).toBe('running');
  });

  it('empties both GPUs for an engine on two, and gives the room to nobody else meanwhile', () => {
    const spec = testNode([
      testEngine('a', { weightGiB: 20, kvGiB: 10 }),
      testEngine('a2', { weightGiB: 20, kvGiB: 10 }),
      testEngine('c', { gpuIndices: [1] }),
      testEngine('tp2', { gpuIndices: [0, 1], weightGiB: 40, kvGiB: 30 }),
      testEngine('small', { gpuIndices: [1], weightGiB: 15, kvGiB: 5 }),
    ]);
    const manager = new NodeManager(spec, { lookAhead: 0 });
    bringUp(manager, { a: 0, a2: 0, c: 0, tp2: 1, small: 1 });
    manager.reserve(testDemand('big', 'tp2', { orderKey: 1 }), 100);
    expect(brief(manager.tick(100)).sort()).toEqual(['sleep a 1', 'sleep a2 1', 'sleep c 1']);
    manager.reserve(testDemand('little', 'small', { orderKey: 2 }), 110);
    manager.engineEvent({ kind: 'slept', engineId: 'c' }, 200);
    expect(brief(manager.tick(200))).toEqual([]);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 210);
    manager.engineEvent({ kind: 'slept', engineId: 'a2' }, 220);
    expect(brief(manager.tick(220))).toEqual(['wake tp2 1']);
  });

  it('uses level 2 where host RAM is short, and serves only after the canary', () => {
    const spec = testNode([testEngine('a'), testEngine('b')], { hostMemoryBytes: 40 * GiB });
    const manager = new NodeManager(spec, { lookAhead: 0, eviction: EVICTION_POLICIES.lru });
    bringUp(manager, { a: 0, b: 1 });
    manager.reserve(testDemand('s1', 'b'), 100);
    expect(brief(manager.tick(100))).toEqual(['sleep a 2']);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 200);
    expect(manager.view('a')?.state).toBe('sleeping-deep');
    manager.tick(200);
    manager.engineEvent({ kind: 'woke', engineId: 'b' }, 300);
    manager.tick(300);
    manager.release('s1', {}, 400);
    manager.reserve(testDemand('s2', 'a'), 500);
    expect(brief(manager.tick(500))).toEqual(['sleep b 1']);
    manager.engineEvent({ kind: 'slept', engineId: 'b' }, 600);
    expect(brief(manager.tick(600))).toEqual(['wake a 2']);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 700);
    expect(brief(manager.tick(700))).toEqual(['canary a']);
    expect(manager.view('a')?.state).toBe('waking');
    manager.engineEvent({ kind: 'canary-passed', engineId: 'a' }, 800);
    expect(brief(manager.tick(800))).toEqual(['grant s2']);
  });

  it('uses level 2 where others have taken the host RAM that is its share', () => {
    const spec = testNode([testEngine('a'), testEngine('b')], { hostMemoryBytes: 400 * GiB });
    const manager = new NodeManager(spec, { lookAhead: 0, eviction: EVICTION_POLICIES.lru });
    bringUp(manager, { a: 0, b: 1 });
    manager.engineEvent({ kind: 'host-memory', bytes: 3 * GiB }, 50);
    manager.reserve(testDemand('s1', 'b'), 100);
    expect(brief(manager.tick(100))).toEqual(['sleep a 2']);
  });

  it('pins what emulated engines have, whatever RAM there is', () => {
    const spec = testNode([testEngine('a'), testEngine('b')], { hostMemoryBytes: 400 * GiB });
    const manager = new NodeManager(spec, { lookAhead: 0, eviction: EVICTION_POLICIES.lru });
    manager.engineEvent({ kind: 'host-memory', bytes: 3 * GiB }, 0);
    for (const [engineId, level] of [
      ['a', 0],
      ['b', 1],
    ] as const)
      manager.engineEvent({ kind: 'engine-up', engineId, level, limits: { emulated: true } }, 10);
    manager.engineEvent({ kind: 'host-memory', bytes: 3 * GiB }, 50);
    manager.reserve(testDemand('s1', 'b'), 100);
    expect(brief(manager.tick(100))).toEqual(['sleep a 1']);
  });

  it('takes an engine out when its canary fails, and lets its holds go', () => {
    const manager = new NodeManager(testNode([testEngine('a')]));
    bringUp(manager, { a: 2 });
    manager.reserve(testDemand('s1', 'a'), 0);
    expect(brief(manager.tick(0))).toEqual(['wake a 2']);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 10);
    manager.engineEvent({ kind: 'canary-failed', engineId: 'a' }, 20);
    expect(brief(manager.tick(20))).toEqual(['canary a', 'release s1 engine-failed']);
    expect(manager.reserve(testDemand('s2', 'a'), 30)).toMatchObject({ reason: 'engine-failed' });
  });

  it('tries a failed wake again after a pause, and gives up after the last', () => {
    const manager = new NodeManager(testNode([testEngine('a')]), {
      retry: { baseMs: 100, maxMs: 1000, maxFailures: 2 },
    });
    bringUp(manager, { a: 1 });
    manager.reserve(testDemand('s1', 'a'), 0);
    expect(brief(manager.tick(0))).toEqual(['wake a 1']);
    manager.engineEvent({ kind: 'wake-failed', engineId: 'a' }, 50);
    expect(brief(manager.tick(50))).toEqual([]);
    expect(manager.nextTickMs()).toBe(150);
    expect(brief(manager.tick(150))).toEqual(['wake a 1']);
    manager.engineEvent({ kind: 'wake-failed', engineId: 'a' }, 160);
    expect(brief(manager.tick(160))).toEqual(['release s1 engine-failed']);
  });

  it('tries a failed wake again although nobody waits any more, for others need what it is charged for', () => {
    const manager = new NodeManager(testNode([testEngine('a'), testEngine('b')]), {
      retry: { baseMs: 100, maxMs: 1000, maxFailures: 5 },
      prefetch: false,
    });
    bringUp(manager, { a: 1, b: 1 });
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'wake-failed', engineId: 'a' }, 50);
    manager.cancel('s1', 60);
    manager.reserve(testDemand('s2', 'b'), 60);
    expect(brief(manager.tick(60))).toEqual([]);
    expect(manager.nextTickMs()).toBe(150);
    expect(brief(manager.tick(150))).toEqual(['wake a 1']);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 200);
    expect(brief(manager.tick(200))).toEqual(['sleep a 1']);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 300);
    expect(brief(manager.tick(300))).toEqual(['wake b 1']);
  });

  it('wakes only when the driver shows the room that the ledger counts on', () => {
    const manager = sharedNode({ telemetry: true, telemetryMaxAgeMs: 1000 });
    manager.reserve(testDemand('s1', 'b'), 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [1 * GiB, 0] }, 50);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 100);
    // The sample is older than the sleep.
    expect(brief(manager.tick(100))).toEqual([]);
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [52 * GiB, 0] }, 200);
    expect(brief(manager.tick(200))).toEqual([]);
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [2 * GiB, 0] }, 300);
    expect(brief(manager.tick(300))).toEqual(['wake b 1']);
  });

  it('counts what engines that wake are about to take, which the driver does not show yet', () => {
    const sizes = { weightGiB: 25, kvGiB: 10 };
    const manager = new NodeManager(testNode([testEngine('b', sizes), testEngine('c', sizes)]), {
      ...{ telemetry: true, telemetryMaxAgeMs: 1000, lookAhead: 0, prefetch: false },
    });
    bringUp(manager, { b: 1, c: 1 });
    // Somebody else holds 18 GiB, for too short a time to be in the account.
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [20 * GiB, 0] }, 10);
    manager.reserve(testDemand('s1', 'b'), 10);
    manager.reserve(testDemand('s2', 'c'), 10);
    expect(brief(manager.tick(10))).toEqual(['wake b 1']);
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [20 * GiB, 0] }, 15);
    expect(brief(manager.tick(15))).toEqual([]);
    manager.engineEvent({ kind: 'telemetry', gpuUsedBytes: [2 * GiB, 0] }, 20);
    expect(brief(manager.tick(20))).toEqual(['wake c 1']);
  });

  it('goes by the ledger alone when telemetry has been lost for long', () => {
    const manager = sharedNode({ telemetry: true, telemetryMaxAgeMs: 1000 });
    manager.reserve(testDemand('s1', 'b'), 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 100);
    expect(brief(manager.tick(100))).toEqual([]);
    const again = manager.nextTickMs();
    expect(again).toBe(1100);
    manager.tick(again);
    expect(brief(manager.tick(manager.nextTickMs() + 1))).toEqual(['wake b 1']);
  });

  it('makes more room where somebody outside its books holds memory, and counts only what lasts', () => {
    const spec = testNode([
      testEngine('a', { weightGiB: 15, kvGiB: 10 }),
      testEngine('b', { weightGiB: 15, kvGiB: 10 }),
      testEngine('c', { weightGiB: 15, kvGiB: 10 }),
    ]);
    const manager = new NodeManager(spec, { telemetry: true, lookAhead: 0 });
    bringUp(manager, { a: 0, b: 1, c: 0 });
    const sample = (foreignGiB: number, nowMs: number) => {
      const gpuUsedBytes = [manager.ledger.gpuUsedBytes(0) + foreignGiB * GiB, 0];
      manager.engineEvent({ kind: 'telemetry', gpuUsedBytes }, nowMs);
    };
    sample(20, 0);
    sample(0, 1000);
    sample(20, 1500);
    sample(20, 3000);
    manager.reserve(testDemand('s1', 'b'), 3100);
    // 53 of 80 GiB are charged and b needs 25: there is room by the books, and none on the card.
    expect(brief(manager.tick(3100))).toEqual([]);
    sample(20, 3600);
    expect(brief(manager.tick(3600))).toEqual(['sleep a 1']);
    manager.engineEvent({ kind: 'slept', engineId: 'a' }, 4000);
    sample(20, 4100);
    expect(brief(manager.tick(4100))).toEqual(['wake b 1']);
  });

  it('never plans a sleep of an engine that cannot sleep', () => {
    const spec = testNode([testEngine('a', { sleepCapable: false }), testEngine('b')]);
    const manager = new NodeManager(spec);
    bringUp(manager, { a: 0, b: 1 });
    expect(manager.reserve(testDemand('s1', 'b'), 0)).toMatchObject({
      kind: 'hold',
      reason: 'no-room',
      etaMs: Infinity,
    });
    expect(brief(manager.tick(100_000))).toEqual([]);
  });
});

describe('failures', () => {
  it('lets holds go when the engine dies, frees its memory, and keeps its leases until they are released', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.reserve(testDemand('s2', 'a'), 0);
    manager.reserve(testDemand('s3', 'a'), 0);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 10);
    expect(brief(manager.tick(10))).toEqual(['release s3 engine-down']);
    expect(manager.ledger.phase('a')).toBe('absent');
    expect(manager.view('a')).toMatchObject({ state: 'down', leases: 2 });
    manager.release('s1', {}, 11);
    manager.release('s2', {}, 11);
    expect(manager.view('a')?.leases).toBe(0);
  });

  it('cordons the engines of a failed GPU: holds go, nothing new comes, what runs may end, and it is lifted with the fault', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.reserve(testDemand('s2', 'b'), 0);
    manager.engineEvent({ kind: 'failed-gpus', gpus: [0] }, 10);
    expect(brief(manager.tick(10))).toEqual(['release s2 engine-failed']);
    expect(manager.view('a')).toMatchObject({ state: 'failed', leases: 1, readyInMs: Infinity });
    expect(manager.changed()).toEqual(expect.arrayContaining(['a', 'b']));
    expect(manager.reserve(testDemand('s3', 'a'), 20)).toMatchObject({ kind: 'refuse', reason: 'engine-failed' });
    expect(manager.reserve(testDemand('s4', 'c'), 20).kind).toBe('grant');
    manager.release('s1', {}, 30);
    expect(manager.view('a')).toMatchObject({ state: 'failed', leases: 0 });
    manager.engineEvent({ kind: 'failed-gpus', gpus: [] }, 40);
    expect(manager.view('a')?.state).toBe('running');
    expect(manager.reserve(testDemand('s3', 'a'), 50).kind).toBe('grant');
  });

  it('keeps the memory of an engine that only does not answer charged', () => {
    const manager = sharedNode();
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'stalled' }, 10);
    expect(manager.ledger.phase('a')).toBe('awake');
    manager.reserve(testDemand('s1', 'b'), 20);
    expect(brief(manager.tick(20))).toEqual([]);
  });

  it('sends the calls of an engine that has hung for two minutes elsewhere, again and again until they have ended', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.reserve(testDemand('s2', 'c'), 0);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'unresponsive' }, 10_000);
    expect(brief(manager.tick(10_000))).toEqual([]);
    expect(manager.nextTickMs()).toBeLessThanOrEqual(130_000);
    expect(brief(manager.tick(129_999))).toEqual([]);
    expect(brief(manager.tick(130_000))).toEqual(['requeue s1']);
    expect(brief(manager.tick(130_001))).toEqual([]);
    expect(manager.nextTickMs()).toBeLessThanOrEqual(250_000);
    expect(brief(manager.tick(250_000))).toEqual(['requeue s1']);
    manager.release('s1', {}, 250_001);
    expect(brief(manager.tick(400_000))).toEqual([]);
  });

  it('leaves the calls of an engine that comes back in time', () => {
    const manager = sharedNode();
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'stalled' }, 10_000);
    manager.tick(10_000);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0 }, 100_000);
    manager.tick(100_000);
    expect(brief(manager.tick(200_000))).toEqual([]);
  });

  it('takes limits from the engine itself', () => {
    const manager = new NodeManager(
      testNode([testEngine('a', { kvPoolTokens: Infinity, seats: Infinity, maxNumSeqs: Infinity })]),
    );
    const limits = { kvPoolTokens: 500, maxNumSeqs: 3, sleepCapable: false };
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 0, limits }, 0);
    expect(manager.view('a')).toMatchObject({ kvPoolTokens: 500, seats: 3, spec: limits });
  });
});

describe('views', () => {
  it('names the engines that changed since the last call, with rising versions', () => {
    const manager = sharedNode();
    const before = manager.view('a')!.version;
    manager.reserve(testDemand('s1', 'a'), 1);
    // Engine b is asleep behind a: that a is busy now changes when b could run.
    expect(manager.changed().sort()).toEqual(['a', 'b']);
    expect(manager.changed()).toEqual([]);
    expect(manager.view('a')!.version).toBeGreaterThan(before);
    manager.reserve(testDemand('s2', 'a'), 1);
    expect(manager.changed()).toEqual(['a']);
  });

  it('tells the cost of making room: nothing, idle victims, or the emptying of busy ones', () => {
    const manager = sharedNode();
    const idleVictim = manager.view('b')!;
    expect(idleVictim.disturbanceMs).toBeGreaterThan(0);
    expect(idleVictim.victims).toEqual(['a']);
    manager.reserve(testDemand('s1', 'a'), 1);
    const busyVictim = manager.view('b')!;
    expect(busyVictim.readyInMs).toBeGreaterThan(idleVictim.readyInMs + 5000);
    manager.engineEvent({ kind: 'engine-down', engineId: 'a', reason: 'refused' }, 2);
    const free = manager.view('b')!;
    expect(free.disturbanceMs).toBe(0);
    expect(free.readyInMs).toBeLessThan(idleVictim.readyInMs);
    expect(manager.view('a')!.readyInMs).toBe(Infinity);
    expect(manager.view('c')!.readyInMs).toBe(0);
  });

  it('learns how long wakes take on this host', () => {
    const manager = new NodeManager(testNode([testEngine('a')]));
    bringUp(manager, { a: 1 });
    manager.reserve(testDemand('s1', 'a'), 0);
    manager.tick(0);
    manager.engineEvent({ kind: 'woke', engineId: 'a' }, 7777);
    manager.tick(7777);
    manager.engineEvent({ kind: 'engine-up', engineId: 'a', level: 1 }, 8000);
    expect(manager.view('a')?.readyInMs).toBe(7777);
  });
});
