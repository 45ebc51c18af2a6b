import { beforeEach, expect, it, vi } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineEndpoint } from '../bus/contract.js';
import { ManualClock } from '../model/clock.js';
import type { Demand, EngineView, Lease } from '../model/fleet.js';
import type { NodeListener } from '../node/listener.js';
import type { HoldEnd } from '../node/open-holds.js';
import { LOOK_AGAIN_MS, MOST_MOVES } from './moving.js';
import { ClusterRouter } from './router.js';
import { ClusterService, type NodeLink } from './service.js';

/** A node with one engine: it holds what comes while its engine sleeps or `full`, and grants it else. */
class FakeNode implements NodeLink {
  readonly held = new Map<string, (end: HoldEnd) => void>();
  readonly cancelled: string[] = [];
  full = false;
  private changed: EngineView[] = [];
  private listener: NodeListener | undefined;

  constructor(
    readonly nodeId: string,
    private now: EngineView,
  ) {}

  show(overrides: Partial<EngineView>): void {
    this.now = { ...this.now, ...overrides, version: this.now.version + 1 };
    this.changed = [this.now];
    this.listener?.changed();
  }

  /** Another engine has the name of the former one. */
  replace(view: EngineView): void {
    this.now = view;
    this.changed = [view];
    this.listener?.changed();
  }

  gone(): void {
    this.changed = [];
    this.listener?.gone(this.now.spec.engineId);
  }

  lease({ stageId, kvTokens, epoch }: Pick<Demand, 'stageId' | 'kvTokens' | 'epoch'>): Lease {
    const { engineId } = this.now.spec;
    return {
      ...{ leaseId: `${stageId}~`, stageId, engineId, nodeId: this.nodeId },
      kvTokens,
      epoch,
      grantedAtMs: 0,
      coldStartMs: 0,
    };
  }

  reserve(demand: Demand, onHoldEnd: (end: HoldEnd) => void) {
    const { engineId } = this.now.spec;
    if (this.now.state === 'running' && !this.full) return { kind: 'grant', lease: this.lease(demand) } as const;
    this.held.set(demand.stageId, onHoldEnd);
    return { kind: 'hold', engineId, etaMs: 1_000, reason: 'no-room' } as const;
  }

  cancel(stageId: string): void {
    this.cancelled.push(stageId);
    this.held.delete(stageId);
  }

  endpoint = () => ({}) as EngineEndpoint;
  firstToken = () => undefined;
  release = () => undefined;
  keep = () => undefined;
  reportUnreachable = () => undefined;
  reportAnswer = () => undefined;
  view = () => this.now;
  views = () => [this.now];

  listen(listener: NodeListener): void {
    this.listener = listener;
  }

  changedViews(): readonly EngineView[] {
    const { changed } = this;
    this.changed = [];
    return changed;
  }
}

const ASLEEP = { state: 'sleeping', readyInMs: 20_000, disturbanceMs: 3_000, victims: ['big'] } as const;
let clock: ManualClock;
let a: FakeNode;
let b: FakeNode;
let router: ClusterRouter;
let cluster: ClusterService;
let news: string[];
beforeEach(() => {
  clock = new ManualClock();
  a = new FakeNode('a', makeView('a/e', ASLEEP));
  b = new FakeNode('b', makeView('b/e', { ...ASLEEP, readyInMs: 60_000 }));
  router = new ClusterRouter({ lookAhead: 2 });
  cluster = new ClusterService({
    ...{ clusterId: 'c', nodes: [a, b], clock, epoch: 1, interactiveClasses: new Set(['interactive']) },
    router,
  });
  news = [];
});

function place(stageId: string): void {
  const prediction = makePrediction({ kvTokens: { q50: 1_200, bound: 2_000 } });
  cluster.place(makeStage({ stageId }), prediction, { orderKey: 1 }, new Set(), clock.nowMs(), {
    started: ({ engineId }) => news.push(`started ${engineId}`),
    bounced: (reason) => news.push(`bounced ${reason}`),
    requeue: () => false,
  });
}

it('takes a held stage to an engine that has got room, and leaves the one where it was held', () => {
  place('s');
  expect([...a.held.keys()]).toEqual(['s']);
  clock.advance(3 * LOOK_AGAIN_MS);
  expect(a.cancelled).toEqual([]);
  b.show({ state: 'running', readyInMs: 0, disturbanceMs: 0 });
  clock.advance(LOOK_AGAIN_MS);
  expect([a.cancelled, news]).toEqual([['s'], ['started b/e']]);
  clock.advance(10 * LOOK_AGAIN_MS);
  expect(b.cancelled).toEqual([]);
});

it('learns how long leases last, and not holds', () => {
  const ended = vi.spyOn(router, 'ended');
  place('s');
  place('t');
  clock.advance(30_000);
  a.held.get('t')!({ kind: 'grant', lease: a.lease({ stageId: 't', kvTokens: 1, epoch: 1 }) });
  b.show({ state: 'running', readyInMs: 0, disturbanceMs: 0 });
  a.held.get('s')!({ kind: 'released', reason: 'engine-down' });
  clock.advance(1_000);
  cluster.finish('s', {}, clock.nowMs());
  clock.advance(1_000);
  cluster.finish('t', {}, clock.nowMs());
  expect(ended.mock.calls).toEqual([
    ['b/e', 1_000],
    ['a/e', 2_000],
  ]);
});

it('leaves it where its engine is about to wake', () => {
  place('s');
  a.show({ state: 'waking', readyInMs: 1_000, disturbanceMs: 0 });
  b.show({ state: 'running', readyInMs: 0, disturbanceMs: 0 });
  clock.advance(LOOK_AGAIN_MS);
  expect([[...a.held.keys()], news]).toEqual([['s'], []]);
});

it('lets a stage come to rest, however views and nodes contradict each other', () => {
  place('s');
  a.full = true;
  b.full = true;
  for (let round = 0; round < 20; round++) {
    const [here, there] = a.held.has('s') ? [a, b] : [b, a];
    here.show(ASLEEP);
    there.show({ state: 'running', readyInMs: 0, disturbanceMs: 0 });
    clock.advance(LOOK_AGAIN_MS);
  }
  expect(a.cancelled.length + b.cancelled.length).toBe(MOST_MOVES);
});

it('forgets a held stage whose client has gone', () => {
  place('s');
  cluster.finish('s', {}, clock.nowMs());
  b.show({ state: 'running', readyInMs: 0, disturbanceMs: 0 });
  clock.advance(10 * LOOK_AGAIN_MS);
  expect([a.cancelled, news]).toEqual([['s'], []]);
});

const RUNNING = { state: 'running', readyInMs: 0, disturbanceMs: 0 } as const;

it('sends nothing to an engine that leaves, and does not name its model any more', () => {
  a.show(RUNNING);
  place('s');
  expect(news).toEqual(['started a/e']);
  a.show({ state: 'leaving' });
  expect([cluster.has('a/e'), cluster.has('b/e')]).toEqual([false, true]);
  expect([...cluster.models().values()].map(({ engines }) => engines)).toEqual([1]);
  b.show({ state: 'leaving' });
  place('t');
  expect([news.at(-1), cluster.models().size]).toEqual(['bounced unknown-model', 0]);
  // What runs on it ends there.
  cluster.finish('s', {}, clock.nowMs());
  a.show(RUNNING);
  place('u');
  expect(news.at(-1)).toBe('started a/e');
});

it('takes another engine of the same name for a new one, whose views are counted anew', () => {
  a.show(RUNNING);
  a.show(RUNNING);
  a.gone();
  expect(cluster.has('a/e')).toBe(false);
  a.replace(makeView('a/e', { ...RUNNING, version: 0 }));
  place('s');
  expect(news).toEqual(['started a/e']);
});

it('lets nodes join and leave', () => {
  const c = new FakeNode('c', makeView('c/e', RUNNING));
  cluster.join(c);
  place('s');
  expect(news).toEqual(['started c/e']);
  cluster.finish('s', {}, clock.nowMs());
  c.gone();
  cluster.leave('c');
  place('t');
  expect([...a.held.keys()]).toEqual(['t']);
});
