import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineSpec, Lease } from '../model/fleet.js';
import { nextInt, SeededRng } from '../model/rng.js';
import { GiB } from '../model/units.js';
import type { NodeAction } from './actions.js';
import { NodeManager } from './manager.js';
import { testDemand, testEngine, testNode } from './node-fixture.js';

/** Two of the checkpoints fit, not three. */
const STAGING_GIB = 80;
const FOLDERS: Readonly<Record<string, string>> = { a: '/shared', b: '/b', c: '/shared', tp2: '/tp2' };

type StagePhase = 'held' | 'leased' | 'ended';

/** A body that carries actions out late, in random order and with failures, and checks every rule as it goes. */
class RandomBody {
  readonly manager: NodeManager;
  readonly phases = new Map<string, StagePhase>();
  private readonly pending: NodeAction[] = [];
  private readonly rng: SeededRng;
  private readonly engineIds = ['a', 'b', 'c', 'tp2'];
  private nowMs = 0;
  private stages = 0;
  private readonly copies = new Map<string, number>();
  grants = 0;
  wakes = 0;
  limits = 0;
  fromHost = 0;
  onRanks = 0;
  forgotten = 0;
  /** Engines that are to leave, and those that have left. */
  private readonly leaving = new Set<string>();
  private readonly away = new Map<string, EngineSpec>();

  constructor(
    seed: number,
    hostGiB: number,
    elastic: boolean,
    private readonly ranked: boolean,
  ) {
    this.rng = new SeededRng(seed);
    const spec = testNode(
      [
        testEngine('a', { weightsFolder: '/shared', ...kvOf(20, elastic) }),
        testEngine('b', { weightGiB: 40, weightsFolder: '/b', ...kvOf(30, elastic) }),
        testEngine('c', { gpuIndices: [1], weightsFolder: '/shared', ...poolOf(ranked) }),
        testEngine('tp2', { gpuIndices: [0, 1], weightGiB: 35, kvGiB: 30, weightsFolder: '/tp2' }),
      ],
      { hostMemoryBytes: (hostGiB + STAGING_GIB) * GiB, staging: { folder: '/ram', memoryBytes: STAGING_GIB * GiB } },
    );
    this.manager = new NodeManager(spec, {
      lookAhead: 1,
      maxHoldsPerEngine: 5,
      minResidencyMs: 100,
      maxHoldWaitMs: 2000,
      firstSleep: seed % 2 === 0,
    });
    for (const engineId of this.engineIds) this.start(engineId);
  }

  step(): void {
    this.nowMs += nextInt(this.rng, 400);
    const engineId = this.engineIds[nextInt(this.rng, this.engineIds.length)]!;
    const choice = nextInt(this.rng, 24);
    if (choice < 8) this.reserve(engineId);
    else if (choice < 13) this.endOne();
    else if (choice < 20) this.answerOne();
    else if (choice === 20) this.start(engineId);
    else if (choice === 21) this.kill(engineId);
    else if (choice === 22) this.leave(engineId);
    else this.joinOrForget(engineId);
    this.absorb(this.manager.tick(this.nowMs));
    this.check();
  }

  /** Ends everything that is open, with engines that answer. */
  finish(): void {
    for (let round = 0; round < 2000 && [...this.phases.values()].some((phase) => phase !== 'ended'); round++) {
      this.nowMs += 200;
      while (this.pending.length > 0) this.answerOne();
      this.endOne();
      this.absorb(this.manager.tick(this.nowMs));
    }
  }

  private reserve(engineId: string): void {
    const stageId = `s${this.stages++}`;
    const kvTokens = 100 + nextInt(this.rng, 700);
    // The router may not have heard yet which ranks there are.
    const rank = this.ranked ? [undefined, 0, 1, 2][nextInt(this.rng, 4)] : undefined;
    const demand = testDemand(stageId, engineId, { kvTokens, orderKey: nextInt(this.rng, 1000), rank });
    const answer = this.manager.reserve(demand, this.nowMs);
    if (answer.kind === 'grant') {
      this.phases.set(stageId, 'leased');
      this.checkRuns(answer.lease);
    } else if (answer.kind === 'hold') this.phases.set(stageId, 'held');
  }

  private endOne(): void {
    const open = [...this.phases].filter(([, phase]) => phase !== 'ended');
    const picked = open[nextInt(this.rng, Math.max(1, open.length))];
    if (!picked) return;
    const [stageId, phase] = picked;
    if (phase === 'held') this.manager.cancel(stageId, this.nowMs);
    else this.manager.release(stageId, { outputTokens: 3 }, this.nowMs);
    this.phases.set(stageId, 'ended');
  }

  private answerOne(): void {
    const [action] = this.pending.splice(nextInt(this.rng, Math.max(1, this.pending.length)), 1);
    if (!action) return;
    const fails = nextInt(this.rng, 6) === 0;
    const { manager, nowMs } = this;
    if (action.kind === 'sleep') {
      manager.engineEvent({ kind: fails ? 'sleep-failed' : 'slept', engineId: action.engineId }, nowMs);
    } else if (action.kind === 'wake') {
      manager.engineEvent({ kind: fails ? 'wake-failed' : 'woke', engineId: action.engineId }, nowMs);
    } else if (action.kind === 'kv-limit') {
      const { engineId, bytes } = action;
      manager.engineEvent(
        nextInt(this.rng, 30) === 0 ? { kind: 'kv-limit-failed', engineId } : { kind: 'kv-limited', engineId, bytes },
        nowMs,
      );
    } else if (action.kind === 'canary') {
      manager.engineEvent({ kind: 'canary-passed', engineId: action.engineId }, nowMs);
    } else if (action.kind === 'stage') {
      const { folder } = action;
      // What the files take may be more or less than their weights.
      const bytes = action.bytes + (nextInt(this.rng, 3) - 1) * GiB;
      const takenBytes = [...this.copies.values()].reduce((sum, each) => sum + each, 0);
      const full = takenBytes + bytes > STAGING_GIB * GiB;
      if (fails || full) manager.engineEvent({ kind: 'stage-failed', folder, bytes }, nowMs);
      else {
        this.copies.set(folder, bytes);
        manager.engineEvent({ kind: 'staged', folder, bytes }, nowMs);
      }
    } else if (action.kind === 'unstage') {
      this.copies.delete(action.folder);
      manager.engineEvent({ kind: 'unstaged', folder: action.folder }, nowMs);
    }
  }

  /** It leaves the fleet, or stays after all. */
  private leave(engineId: string): void {
    if (this.away.has(engineId)) return;
    const how = ([undefined, undefined, undefined, 'for-good', 'to-end', 'to-return'] as const)[nextInt(this.rng, 6)];
    this.manager.leave(engineId, how, this.nowMs);
    if (how) this.leaving.add(engineId);
    else this.leaving.delete(engineId);
  }

  /** One that leaves is forgotten once it is empty; one that is away joins. */
  private joinOrForget(engineId: string): void {
    const { manager, nowMs } = this;
    const spec = this.away.get(engineId);
    if (spec) {
      this.away.delete(engineId);
      manager.join(spec, nowMs);
      this.start(engineId);
      return;
    }
    const view = manager.view(engineId)!;
    if (!this.leaving.has(engineId) || !manager.isOver(engineId, nowMs)) return;
    this.leaving.delete(engineId);
    this.away.set(engineId, view.spec);
    this.dropPending(engineId);
    manager.forget(engineId, nowMs);
    this.forgotten++;
  }

  /** A process starts where the device has room, as vLLM's own start-up guard demands. */
  private start(engineId: string): void {
    const level = nextInt(this.rng, 3) as 0 | 1 | 2;
    if (this.away.has(engineId) || !this.manager.ledger.canStart(engineId, level)) return;
    // Its next process may have other ranks than the one before.
    const limits = this.ranked && engineId === 'c' ? { chosenRanks: 1 + nextInt(this.rng, 2) } : {};
    this.manager.engineEvent({ kind: 'engine-up', engineId, level, limits }, this.nowMs);
  }

  private kill(engineId: string): void {
    this.dropPending(engineId);
    this.manager.engineEvent({ kind: 'engine-down', engineId, reason: 'refused' }, this.nowMs);
  }

  private dropPending(engineId: string): void {
    this.pending.splice(
      0,
      this.pending.length,
      ...this.pending.filter((one) => !('engineId' in one) || one.engineId !== engineId),
    );
  }

  private absorb(actions: readonly NodeAction[]): void {
    for (const action of actions) {
      if (action.kind === 'grant' || action.kind === 'release-hold') {
        const stageId = action.kind === 'grant' ? action.lease.stageId : action.stageId;
        if (this.phases.get(stageId) !== 'held') throw new Error(`${stageId}: a hold ended twice, or was none`);
        this.phases.set(stageId, action.kind === 'grant' ? 'leased' : 'ended');
        if (action.kind === 'grant') {
          this.grants++;
          this.checkRuns(action.lease);
        }
        continue;
      }
      if (action.kind === 'sleep' && this.reservedOn(action.engineId) > 0)
        throw new Error('a busy engine was put to sleep');
      if (action.kind === 'wake') this.wakes++;
      if (action.kind === 'wake' && this.leaving.has(action.engineId))
        throw new Error('an engine that leaves is woken');
      if (action.kind === 'wake' && action.level === 2 && action.from === 'host') {
        this.fromHost++;
        if (!this.copies.has(FOLDERS[action.engineId]!)) throw new Error('a wake reads a copy that is not there');
      }
      if (action.kind === 'stage' && this.copies.has(action.folder)) throw new Error('a second copy of one checkpoint');
      if (action.kind === 'unstage') this.checkUnread(action.folder);
      if (action.kind === 'kv-limit') this.limits++;
      this.pending.push(action);
    }
  }

  private checkUnread(folder: string): void {
    const reading = this.pending.some(
      (one) => one.kind === 'wake' && one.level === 2 && one.from === 'host' && FOLDERS[one.engineId] === folder,
    );
    if (reading) throw new Error('a copy is deleted while an engine wakes from it');
  }

  private reservedOn(engineId: string): number {
    return this.manager.view(engineId)!.reservedKvTokens;
  }

  private checkRuns({ engineId, rank }: Lease): void {
    const { state, ranks } = this.manager.view(engineId)!;
    if (ranks ? !(rank! < ranks.length) : rank !== undefined) throw new Error(`granted on rank ${rank}`);
    if (rank !== undefined) this.onRanks++;
    // A later effect of the same tick may have begun to empty it: it is awake, and waits for this lease too.
    if ((state !== 'running' && state !== 'draining') || this.leaving.has(engineId))
      throw new Error(`granted on an engine that is ${state}`);
  }

  private check(): void {
    this.manager.ledger.checkIntegrity();
    if (this.manager.ledger.overcommittedBytes() > 0) throw new Error('HBM or host RAM over capacity');
    let held = 0;
    let leased = 0;
    for (const phase of this.phases.values()) {
      if (phase === 'held') held++;
      else if (phase === 'leased') leased++;
    }
    const stats = this.manager.stats();
    if (stats.stagedBytes > STAGING_GIB * GiB) throw new Error('copies take more than is set aside for them');
    if (stats.holds !== held || stats.leases !== leased) throw new Error('the books differ from the answers given');
    for (const view of this.manager.views()) {
      if (view.reservedKvTokens > view.kvPoolTokens) throw new Error('more KV was promised than there is');
      const { ranks } = view;
      if (!ranks) continue;
      if (ranks.some(({ reservedKvTokens }) => reservedKvTokens > view.kvPoolTokens / ranks.length))
        throw new Error('more KV was promised on a rank than it has');
      if (ranks.reduce((sum, { leases }) => sum + leases, 0) !== view.leases)
        throw new Error('the ranks differ from their sum');
    }
  }
}

/** A pool that few calls fill; with ranks, each of them has as much. */
function poolOf(ranked: boolean) {
  return ranked ? { kvPoolTokens: 1_400, dataParallel: 2, chosenRanks: 2 } : { kvPoolTokens: 700 };
}

/** Pools of 10 000 tokens, fixed or such that most of it can be lent. */
function kvOf(kvGiB: number, elastic: boolean) {
  const kvBytesPerToken = (kvGiB * GiB) / 10_000;
  return { kvGiB, kvBytesPerToken, ...(elastic ? { kvLeastBytes: GiB } : {}) };
}

describe('NodeManager, random bodies', () => {
  it('grants only on running engines, ends every hold once, fits memory, and returns to zero', () => {
    let grants = 0;
    let wakes = 0;
    let limits = 0;
    let fromHost = 0;
    let forgotten = 0;
    let onRanks = 0;
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 10, max: 300 }),
        fc.boolean(),
        fc.boolean(),
        (seed, hostGiB, elastic, ranked) => {
          const body = new RandomBody(seed, hostGiB, elastic, ranked);
          for (let step = 0; step < 150; step++) body.step();
          body.finish();
          const stats = body.manager.stats();
          expect([stats.leases, stats.holds]).toEqual([0, 0]);
          for (const view of body.manager.views()) {
            expect(view).toMatchObject({ leases: 0, reservedKvTokens: 0, pendingPrefillTokens: 0 });
          }
          grants += body.grants;
          wakes += body.wakes;
          limits += body.limits;
          fromHost += body.fromHost;
          onRanks += body.onRanks;
          forgotten += body.forgotten;
        },
      ),
      { numRuns: 300 },
    );
    // Enough happened for the rules to have been at stake.
    expect(grants).toBeGreaterThan(1000);
    expect(wakes).toBeGreaterThan(500);
    expect(limits).toBeGreaterThan(500);
    expect(fromHost).toBeGreaterThan(100);
    expect(onRanks).toBeGreaterThan(100);
    expect(forgotten).toBeGreaterThan(200);
  });
});
