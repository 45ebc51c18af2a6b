import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineView, PlaceResult, RankView } from '../model/fleet.js';
import type { Stage } from '../model/stage.js';
import { ClusterRouter } from './router.js';

/** Prefill 0.1 ms a token and decode steps that depend on nothing, so that the arithmetic of a test fits on a line. */
const costs = () => ({ prefillMsPerToken: 0.1, stepMs: 10, stepMsPerSequence: 0, stepMsPerContextToken: 0 });

const IDLE: RankView = { leases: 0, reservedKvTokens: 0, keptKvTokens: 0, pendingPrefillTokens: 0 };

/** An engine with ranks of four seats and 10,000 KV tokens each. */
function ranked(engineId: string, ranks: readonly Partial<RankView>[], view: Partial<EngineView> = {}): EngineView {
  const told = ranks.map((rank) => ({ ...IDLE, ...rank }));
  const sum = (of: (rank: RankView) => number) => told.reduce((all, rank) => all + of(rank), 0);
  return makeView(engineId, {
    ...{ seats: 4 * ranks.length, kvPoolTokens: 10_000 * ranks.length },
    ...{ leases: sum(({ leases }) => leases), reservedKvTokens: sum(({ reservedKvTokens }) => reservedKvTokens) },
    ...view,
    ranks: told,
  });
}

function router(...views: readonly EngineView[]): ClusterRouter {
  const made = new ClusterRouter({ lookAhead: 1, costs });
  for (const view of views) made.update(view);
  return made;
}

const PREDICTION = makePrediction({ kvTokens: { q50: 1_200, bound: 2_000 } });
const place = (made: ClusterRouter, stage: Partial<Stage> = {}, excluded: string[] = []): PlaceResult =>
  made.place(makeStage(stage), PREDICTION, 0, new Set(excluded));
const rankOf = (result: PlaceResult) => (result.kind === 'bounce' ? result.reason : result.rank);

describe('the rank of a stage', () => {
  it('is the one with the least to do, counting what was placed since the last view', () => {
    const made = router(ranked('n/e', [{ leases: 2 }, {}, { pendingPrefillTokens: 500 }, {}]));
    expect([1, 2, 3].map(() => rankOf(place(made)))).toEqual([1, 3, 1]);
  });

  it('is the one that has its context, while its wait is shorter than computing the prompt anew', () => {
    const context = { prefixHashes: ['a', 'b'], promptTokens: 2_000 };
    const placed = (rank: Partial<RankView>) => {
      const made = router(ranked('n/e', [{}, {}]));
      made.sent(makeStage({ prefixHashes: ['a'] }), 'n/e', 1);
      made.update(ranked('n/e', [{}, rank], { version: 2 }));
      return place(made, context);
    };
    expect(placed({ leases: 3 })).toMatchObject({ kind: 'place', rank: 1 });
    // Half of the prompt is cached there: 100 ms. Others have prompts of more, or less, before it.
    expect(placed({ pendingPrefillTokens: 900 })).toMatchObject({ kind: 'place', rank: 1 });
    expect(placed({ pendingPrefillTokens: 1_100 })).toMatchObject({ kind: 'place', rank: 0 });
    expect(placed({ reservedKvTokens: 9_000 })).toMatchObject({ kind: 'place', rank: 0 });
  });

  it('is waited for where it has the context and no seat, while that is shorter than computing the prompt anew', () => {
    const context = { prefixHashes: ['a'], promptTokens: 8_000 };
    const made = router(ranked('n/e', [{}, { leases: 5 }]));
    made.sent(makeStage(context), 'n/e', 1);
    // A lease lasts 5 s at first, so a seat of four comes free every 1.25 s; to compute the prompt takes 0.8 s.
    expect(place(made, context)).toMatchObject({ kind: 'place', rank: 0 });
    for (let call = 0; call < 50; call++) made.ended('n/e', 500);
    expect(place(made, context)).toMatchObject({ kind: 'hold', rank: 1 });
    // One that has waited there in vain takes another rank.
    expect(place(made, context, ['n/e#1'])).toMatchObject({ kind: 'place', rank: 0 });
    expect(rankOf(place(made, context, ['n/e']))).toBe('no-engine');
  });

  it('has room for the whole stage: what all ranks have together does not do', () => {
    const made = router(ranked('n/e', [{ reservedKvTokens: 9_000 }, { reservedKvTokens: 9_000 }]));
    expect(rankOf(place(made))).toBe('no-room');
    expect(made.capacity(0).models).toMatchObject([{ starts: 10, maxKvTokens: 1_000 }]);
    expect(rankOf(place(made, { promptTokens: 12_000 }))).toBe('too-large');
    const uneven = router(
      ranked('n/e', [{ reservedKvTokens: 9_000 }, { leases: 5, reservedKvTokens: 6_000 }, { reservedKvTokens: 7_000 }]),
    );
    expect(place(uneven)).toMatchObject({ rank: 2, kvTokens: 2_000 });
    expect(uneven.capacity(0).models).toMatchObject([{ starts: 9, maxKvTokens: 4_000 }]);
  });

  it('is that of the engine with the shorter wait: an engine without ranks is one of them', () => {
    const made = router(ranked('n/e', [{ leases: 1 }, { leases: 2 }]), makeView('n/plain', { leases: 3 }));
    const chosen = [1, 2, 3].map(() => {
      const result = place(made);
      return result.kind === 'place' && [result.engineId, result.rank];
    });
    expect(chosen).toEqual([
      ['n/e', 0],
      ['n/e', 0],
      ['n/e', 1],
    ]);
    const { explanation } = place(made);
    const candidates = explanation.candidates.map(({ engineId, rank }) => [engineId, rank]);
    expect(candidates).toEqual(
      expect.arrayContaining([
        ['n/e', 0],
        ['n/e', 1],
        ['n/plain', undefined],
      ]),
    );
  });

  it('that keeps the context of the agent has room for it', () => {
    const keptKvTokens = 8_500;
    const made = router(ranked('n/e', [{ keptKvTokens }, { keptKvTokens }], { keptKvTokens: 2 * keptKvTokens }));
    expect(rankOf(place(made))).toBe('no-room');
    const session = makeStage({});
    made.keep('n/e', {
      session: `${session.workflowId}\n${session.role}\n\n${session.model}`,
      tokens: 1_000,
      untilMs: 10,
      rank: 1,
    });
    expect(rankOf(place(made))).toBe(1);
  });

  it('is forgotten with the cache, and where the engine has other ranks than before', () => {
    const context = { prefixHashes: ['a'], promptTokens: 2_000 };
    const placedAfter = (...views: readonly EngineView[]) => {
      const made = router(ranked('n/e', [{}, {}]));
      made.sent(makeStage(context), 'n/e', 1);
      for (const [index, view] of views.entries()) made.update({ ...view, version: 2 + index });
      return rankOf(place(made, context));
    };
    const now = ranked('n/e', [{}, { leases: 1 }]);
    expect(placedAfter(now)).toBe(1);
    expect(placedAfter({ ...now, state: 'sleeping', readyInMs: 1_000 }, now)).toBe(0);
    const { ranks: _, ...plain } = now;
    expect(placedAfter(plain)).toBeUndefined();
    expect(placedAfter(plain, now)).toBe(0);
  });
});

describe('a stage that is held for a rank', () => {
  it('leaves it for another of the same engine where that has it done sooner', () => {
    const leaves = (ranks: readonly Partial<RankView>[]) =>
      router(ranked('n/e', ranks)).leaves(makeStage({}), PREDICTION, { engineId: 'n/e', rank: 0 }, 0);
    expect(leaves([{ leases: 6 }, {}])).toBe(true);
    expect(leaves([{ leases: 6 }, { leases: 5 }])).toBe(false);
  });
});
