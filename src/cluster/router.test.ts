import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineView, ModelCapacity, PlaceResult } from '../model/fleet.js';
import type { Stage } from '../model/stage.js';
import { ClusterRouter, type ClusterRouterConfig } from './router.js';

/** Prefill 0.1 ms a token and decode steps that depend on nothing, so that the arithmetic of a test fits on a line. */
const costs = () => ({ prefillMsPerToken: 0.1, stepMs: 10, stepMsPerSequence: 0.1, stepMsPerContextToken: 0 });

function router(views: readonly EngineView[], config: Partial<ClusterRouterConfig> = {}): ClusterRouter {
  const made = new ClusterRouter({ lookAhead: 2, costs, ...config });
  for (const view of views) made.update(view);
  return made;
}

const PREDICTION = makePrediction({ kvTokens: { q50: 1_200, bound: 2_000 } });
const place = (made: ClusterRouter, stage: Partial<Stage> = {}, excluded: string[] = []): PlaceResult =>
  made.place(makeStage(stage), PREDICTION, 0, new Set(excluded));

function capacityOf(made: ClusterRouter, nowMs: number): ModelCapacity | undefined {
  return made.capacity(nowMs).models.find(({ model }) => model === 'model-a');
}

/** A sleeping engine for which another would have to sleep, and that counts how often it is looked at. */
function lookedAt(engineId: string, looks: { count: number }): EngineView {
  const view = makeView(engineId, { state: 'sleeping', readyInMs: 700 });
  return Object.defineProperty({ ...view }, 'disturbanceMs', {
    enumerable: true,
    get: () => {
      looks.count += 1;
      return 50;
    },
  });
}

describe('ClusterRouter.place', () => {
  it('looks at a few of the engines that must not be woken, however many there are', () => {
    const counts = [100, 10_000].map((engines) => {
      const looks = { count: 0 };
      const asleep = Array.from({ length: engines }, (_, index) => lookedAt(`s${index}/e`, looks));
      const made = router([makeView('n0/busy', { leases: 2 }), ...asleep]);
      looks.count = 0;
      expect(place(made)).toMatchObject({ kind: 'place', engineId: 'n0/busy' });
      expect(capacityOf(made, 0)).toMatchObject({ coldStarts: 0 });
      return looks.count;
    });
    expect(counts[1]).toBe(counts[0]);
  });

  it('prefers the less loaded engine and spreads stages placed before the next view', () => {
    const made = router([makeView('n0/busy', { leases: 5 }), makeView('n1/free'), makeView('n2/free')]);
    const chosen = [place(made), place(made), place(made)].map((result) => result.kind === 'place' && result.engineId);
    expect(new Set(chosen.slice(0, 2))).toEqual(new Set(['n1/free', 'n2/free']));
    expect(capacityOf(made, 0)!.starts).toBe(5 + 10 + 10 - 3);
    made.update(makeView('n1/free', { version: 2 }));
    made.update(makeView('n2/free', { version: 2 }));
    expect(capacityOf(made, 0)!.starts).toBe(5 + 10 + 10);
  });

  it('counts a seat for every answer that a stage asks for', () => {
    const made = router([makeView('n0/free')]);
    place(made, { choices: 4 });
    expect(capacityOf(made, 0)!.starts).toBe(10 - 4);
    place(made, { choices: 8 });
    expect(capacityOf(made, 0)!.starts).toBe(0);
    expect(place(made)).toMatchObject({ kind: 'bounce', reason: 'no-room' });
  });

  it('goes to the engine that has the prompt cached, unless its queue outweighs that', () => {
    const prefixHashes = Array.from({ length: 10 }, (_, index) => `h${index}`);
    const stage = { prefixHashes, promptTokens: 20_000 };
    const made = router([makeView('n0/warm', { leases: 4 }), makeView('n1/cold')]);
    made.sent(makeStage(stage), 'n0/warm');
    expect(place(made, stage)).toMatchObject({ kind: 'place', engineId: 'n0/warm' });
    made.update(makeView('n0/warm', { version: 2, pendingPrefillTokens: 40_000 }));
    expect(place(made, stage)).toMatchObject({ kind: 'place', engineId: 'n1/cold' });
  });

  it('waits for a warm engine without a seat as long as the wait costs less than computing the prompt anew', () => {
    const prefixHashes = ['a', 'b', 'c', 'd'];
    const made = router([makeView('n0/warm', { leases: 10 }), makeView('n1/cold')]);
    made.sent(makeStage({ prefixHashes }), 'n0/warm');
    // Three leases ahead of a seat, each 5 s ÷ 8 seats: 1.9 s. A prompt of 100 k tokens costs 10 s, one of 10 k costs 1 s.
    const long = place(made, { prefixHashes, promptTokens: 90_000 });
    expect(long).toMatchObject({ kind: 'hold', engineId: 'n0/warm', nodeId: 'n0' });
    expect(long.kind === 'hold' && long.waitMs).toBeGreaterThan(8_000);
    expect(long.explanation.candidates[0]).toMatchObject({ engineId: 'n0/warm' });
    expect(long.explanation.refusals).toEqual({ seat: 1 });
    expect(place(made, { prefixHashes, promptTokens: 10_000 })).toMatchObject({ kind: 'place', engineId: 'n1/cold' });
  });

  it('places alike whether it explains or not', () => {
    const prefixHashes = ['a', 'b', 'c', 'd'];
    const answers = [true, false].map((explains) => {
      const made = router(
        [makeView('n0/warm', { leases: 10 }), makeView('n1/cold'), makeView('n2/busy', { leases: 3 })],
        {
          explains,
        },
      );
      made.sent(makeStage({ prefixHashes }), 'n0/warm');
      return [place(made, { prefixHashes, promptTokens: 90_000 }), place(made), place(made, { promptTokens: 10_000 })];
    });
    const decided = answers.map((results) => results.map(({ explanation: _, ...rest }) => rest));
    expect(decided[0]).toEqual(decided[1]);
    expect(answers[0]!.map(({ explanation }) => explanation.candidates.length)).toEqual([3, 2, 2]);
    expect(answers[1]!.map(({ explanation }) => explanation.candidates.length)).toEqual([0, 0, 0]);
  });

  it('forgets warm prefixes of an engine that slept', () => {
    const stage = { prefixHashes: ['a', 'b'], promptTokens: 50_000 };
    const made = router([makeView('n0/e0', { leases: 5 }), makeView('n1/e1')]);
    made.sent(makeStage(stage), 'n0/e0');
    made.update(makeView('n0/e0', { state: 'sleeping', version: 2, readyInMs: 100 }));
    made.update(makeView('n0/e0', { leases: 5, version: 3 }));
    expect(place(made, stage)).toMatchObject({ engineId: 'n1/e1' });
  });

  it('wakes the sleeping engine that is ready soonest when nothing runs, disturbance included', () => {
    const made = router([
      makeView('n0/slow', { state: 'sleeping', readyInMs: 3_000 }),
      makeView('n1/rude', { state: 'sleeping', readyInMs: 900, disturbanceMs: 5_000 }),
      makeView('n2/fast', { state: 'sleeping', readyInMs: 1_500 }),
      makeView('n3/lost', { state: 'down' }),
    ]);
    const result = place(made);
    expect(result).toMatchObject({ kind: 'place', engineId: 'n2/fast' });
    expect(result.explanation.candidates.map(({ engineId }) => engineId)).toEqual(['n2/fast', 'n0/slow', 'n1/rude']);
  });

  it('leaves a sleeping engine alone while a running one has seats, and takes it when none has', () => {
    const asleep = makeView('n1/asleep', { state: 'sleeping', readyInMs: 1_000 });
    expect(place(router([makeView('n0/running', { leases: 5 }), asleep]))).toMatchObject({ engineId: 'n0/running' });
    expect(place(router([makeView('n0/running', { leases: 10 }), asleep]))).toMatchObject({ engineId: 'n1/asleep' });
  });

  it('wakes the engine with the adapter for which others must sleep, whatever else of its model runs', () => {
    const asleep = makeView(
      'n1/asleep',
      { state: 'sleeping', readyInMs: 1_000, disturbanceMs: 50 },
      { adapters: ['planner'] },
    );
    const made = router([makeView('n0/running'), asleep]);
    expect(place(made, { adapter: 'planner' })).toMatchObject({ kind: 'place', engineId: 'n1/asleep' });
    expect(place(made)).toMatchObject({ kind: 'place', engineId: 'n0/running' });
  });

  it('finds the one engine with enough KV among many that are less loaded', () => {
    const views = Array.from({ length: 200 }, (_, index) =>
      makeView(`n${index}/e`, { reservedKvTokens: 99_000, leases: 1 }),
    );
    const made = router([...views, makeView('roomy/e', { reservedKvTokens: 50_000, leases: 7 })]);
    expect(place(made)).toMatchObject({ kind: 'place', engineId: 'roomy/e' });
    expect(place(made, {}, ['roomy/e'])).toMatchObject({ kind: 'bounce', reason: 'no-room' });
  });

  it('promises no more KV than the pool holds', () => {
    const made = router([makeView('n0/e0', { kvPoolTokens: 1_504 })]);
    expect(place(made)).toMatchObject({ kind: 'place', kvTokens: 1_504 });
  });

  const BOUNCES: [string, EngineView[], Partial<Stage>, string[], string][] = [
    ['nobody serves the model', [makeView('n0/e0')], { model: 'model-x' }, [], 'unknown-model'],
    ['all engines are down', [makeView('n0/e0', { state: 'down' })], {}, [], 'no-engine'],
    ['the only engine refused it', [makeView('n0/e0')], {}, ['n0/e0'], 'no-engine'],
    ['the prompt is larger than the pool', [makeView('n0/e0', { kvPoolTokens: 500 })], {}, [], 'too-large'],
    ['all seats are taken', [makeView('n0/e0', { leases: 10 })], {}, [], 'no-room'],
    [
      'one is too small and the other is full',
      [makeView('n0/e0', { kvPoolTokens: 500 }), makeView('n1/e1', { leases: 10 })],
      {},
      [],
      'no-room',
    ],
    [
      'the engines with the adapter are down',
      [makeView('n0/e0', { state: 'down' }, { adapters: ['planner'] }), makeView('n1/e1')],
      { adapter: 'planner' },
      [],
      'no-engine',
    ],
    [
      'the prompt is larger than the pool of those with the adapter',
      [makeView('n0/e0', { kvPoolTokens: 500 }, { adapters: ['planner'] }), makeView('n1/e1')],
      { adapter: 'planner' },
      [],
      'too-large',
    ],
    [
      'the engine with the adapter is full',
      [makeView('n0/e0', { leases: 10 }, { adapters: ['planner'] }), makeView('n1/e1')],
      { adapter: 'planner' },
      [],
      'no-room',
    ],
  ];
  it.each(BOUNCES)('bounces when %s', (_name, views, stage, excluded, reason) => {
    const result = place(router(views), stage, excluded);
    expect(result).toMatchObject({ kind: 'bounce', reason });
    const refused = Object.values(result.explanation.refusals).reduce((sum, count) => sum + count, 0);
    expect(refused).toBe(reason === 'unknown-model' ? 0 : views.length);
  });

  it('explains the best eight with every term', () => {
    const made = router(Array.from({ length: 20 }, (_, index) => makeView(`n${index}/e`)));
    const { explanation } = place(made);
    expect(explanation.candidates).toHaveLength(8);
    for (const { totalMs, terms } of explanation.candidates) {
      expect(Object.keys(terms)).toEqual([
        'ready',
        'queue',
        'prefill',
        'decode',
        'disturbance',
        'preemption',
        'network',
      ]);
      expect(Object.values(terms).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(totalMs, 6);
    }
  });
});

describe('an engine that has become far slower than its siblings', () => {
  const reading = (stepMs: number) => ({ stepMs, sequences: 1, contextTokens: 0 });
  const views = (slowMs: number, version = 1) => [
    makeView('n0/quick', { version, leases: 5, pace: reading(10) }),
    makeView('n1/slow', { version, pace: reading(slowMs) }),
  ];
  const engineOf = (result: PlaceResult) => result.kind === 'place' && result.engineId;

  it('takes nothing while one of these runs', () => {
    expect(engineOf(place(router(views(29))))).toBe('n1/slow');
    const made = router(views(31));
    expect(capacityOf(made, 0)!.starts).toBe(5);
    expect(Array.from({ length: 5 }, () => engineOf(place(made)))).toEqual(new Array(5).fill('n0/quick'));
  });

  it('takes what no other can', () => {
    const made = router([
      makeView('n0/quick', { pace: reading(10) }, { maxModelLen: 8_192 }),
      makeView('n1/slow', { pace: reading(50) }),
    ]);
    expect(engineOf(place(made, { promptTokens: 20_000 }))).toBe('n1/slow');
    expect(engineOf(place(made, {}, ['n0/quick']))).toBe('n1/slow');
  });

  it('takes stages again when no other runs, and when it is quick again', () => {
    const made = router(views(50));
    made.remove('n0/quick');
    expect(capacityOf(made, 0)!.starts).toBe(10);
    expect(engineOf(place(made))).toBe('n1/slow');
    const healed = router(views(50));
    for (const view of views(11, 2)) healed.update(view);
    expect(capacityOf(healed, 0)!.starts).toBe(15);
  });

  it('is nothing that costs which are wrong for all of them tell', () => {
    const made = router([makeView('n0/a', { pace: reading(60) }), makeView('n1/b', { pace: reading(80) })]);
    expect(capacityOf(made, 0)!.starts).toBe(20);
  });

  it('is waited for by nobody who has his prompt there', () => {
    const prefixHashes = Array.from({ length: 10 }, (_, index) => `h${index}`);
    const made = router(views(50));
    made.sent(makeStage({ prefixHashes }), 'n1/slow');
    expect(engineOf(place(made, { prefixHashes, promptTokens: 2_000 }))).toBe('n0/quick');
  });
});

describe('ClusterRouter.leaves', () => {
  const asleep = { state: 'sleeping', readyInMs: 20_000 } as const;
  const leaves = (views: readonly EngineView[], stage: Partial<Stage> = {}, excluded: string[] = []) =>
    router(views).leaves(makeStage(stage), PREDICTION, { engineId: 'n0/here' }, 0, new Set(excluded));

  it('goes where a running engine takes it at once, and is sooner by more than a sleep and a wake', () => {
    expect(leaves([makeView('n0/here', asleep), makeView('n1/there')])).toBe(true);
    expect(leaves([makeView('n0/here', { state: 'waking', readyInMs: 1_500 }), makeView('n1/there')])).toBe(false);
    expect(leaves([makeView('n0/here', { state: 'waking', readyInMs: 2_500 }), makeView('n1/there')])).toBe(true);
  });

  it('stays where no other could take it now', () => {
    expect(leaves([makeView('n0/here', asleep)])).toBe(false);
    expect(leaves([makeView('n0/here', asleep), makeView('n1/sleeps', { ...asleep, readyInMs: 0 })])).toBe(false);
    expect(leaves([makeView('n0/here', asleep), makeView('n1/full', { leases: 10 })])).toBe(false);
    expect(leaves([makeView('n0/here', asleep), makeView('n1/full', { reservedKvTokens: 99_000 })])).toBe(false);
    expect(leaves([makeView('n0/here', asleep), makeView('n1/there')], {}, ['n1/there'])).toBe(false);
    expect(leaves([makeView('n0/here', asleep), makeView('n1/there')], { onlyEngineId: 'n0/here' })).toBe(false);
  });

  it('counts a lease that has to end for one that is held at a full engine that runs', () => {
    const full = makeView('n0/here', { reservedKvTokens: 99_000 });
    expect(leaves([full, makeView('n1/there')])).toBe(true);
    // Its own delay there, a prefill of 6 s, outweighs that.
    expect(leaves([full, makeView('n1/there', { pendingPrefillTokens: 60_000 })])).toBe(false);
  });
});

describe('ClusterRouter: views', () => {
  it('ignores an older view and forgets a removed engine, whose views may count anew', () => {
    const made = router([makeView('n0/e0', { version: 5 })]);
    made.update(makeView('n0/e0', { version: 4, state: 'down' }));
    expect(place(made).kind).toBe('place');
    made.remove('n0/e0');
    expect(place(made)).toMatchObject({ kind: 'bounce', reason: 'unknown-model' });
    expect(made.capacity(0).models).toEqual([]);
    made.update(makeView('n0/e0', { version: 0 }));
    expect(place(made).kind).toBe('place');
  });

  it('places nothing on an engine that has been silent for too long, until it speaks again', () => {
    const made = router([makeView('n0/e0')], { staleAfterMs: 1_000 });
    expect(capacityOf(made, 1_000)!.starts).toBe(10);
    expect(capacityOf(made, 1_001)!.starts).toBe(0);
    expect(made.place(makeStage(), PREDICTION, 1_001)).toMatchObject({ kind: 'bounce', reason: 'no-engine' });
    made.update(makeView('n0/e0', { version: 2, observedAtMs: 1_500 }));
    expect(made.place(makeStage(), PREDICTION, 1_500).kind).toBe('place');
  });

  it('learns how long leases last from their ends', () => {
    const made = router([makeView('n0/e0', { leases: 8 })]);
    const wait = () => place(made).explanation.candidates[0]!.terms['queue']!;
    const before = wait();
    for (let index = 0; index < 100; index++) made.ended('n0/e0', 80);
    made.update(makeView('n0/e0', { leases: 8, version: 2 }));
    expect(wait()).toBeLessThan(before / 10);
  });
});

it('wakes an engine for a stage that is too long for those that run, although another would have to sleep for it', () => {
  const made = router([
    makeView('n0/short', {}, { maxModelLen: 8_192 }),
    makeView(
      'n1/long',
      { state: 'sleeping', readyInMs: 700, disturbanceMs: 50, victims: ['n1/b'] },
      { maxModelLen: 16_384 },
    ),
    makeView('n1/b', {}, { model: 'model-b' }),
  ]);
  expect(place(made, { promptTokens: 8_000, maxTokens: 100 })).toMatchObject({ engineId: 'n0/short' });
  const long = { promptTokens: 8_000, maxTokens: 1_000, outputLimited: true };
  expect(place(made, long)).toMatchObject({ kind: 'place', engineId: 'n1/long' });
});

describe('ClusterRouter.capacity', () => {
  /** A full engine of the model; another that sleeps, for which one of another model would have to sleep; and more. */
  const besideFull = (...more: EngineView[]): EngineView[] => [
    makeView('n0/e0', { leases: 10 }),
    makeView('n1/e1', { state: 'sleeping', readyInMs: 700, disturbanceMs: 50, victims: ['n1/b'] }),
    makeView('n1/b', { leases: 2, reservedKvTokens: 1_000 }, { model: 'model-b' }),
    ...more,
  ];
  const CASES: [string, EngineView[], Record<string, number>][] = [
    ['an idle engine: seats and look-ahead', [makeView('n0/e0')], { starts: 10, readyInMs: 0, coldStarts: 0 }],
    [
      'unlimited seats: the configured number',
      [makeView('n0/e0', { seats: Number.POSITIVE_INFINITY, leases: 6 })],
      { starts: 65_532 },
    ],
    [
      'the roomiest engine bounds the KV',
      [makeView('n0/e0', { reservedKvTokens: 60_000 }), makeView('n1/e1', { reservedKvTokens: 80_000 })],
      { starts: 20, maxKvTokens: 40_000 },
    ],
    [
      'asleep everywhere: the holds of one',
      [
        makeView('n0/e0', { state: 'sleeping', readyInMs: 900 }),
        makeView('n1/e1', { state: 'sleeping', readyInMs: 700 }),
      ],
      { starts: 2, readyInMs: 700 },
    ],
    [
      'one is waking: its holds and no second wake',
      [
        makeView('n0/e0', { state: 'waking', readyInMs: 300, leases: 1 }),
        makeView('n1/e1', { state: 'sleeping', readyInMs: 700 }),
      ],
      { starts: 1, readyInMs: 300 },
    ],
    [
      'a sleeping engine beside a full one is offered apart',
      [makeView('n0/e0', { leases: 10 }), makeView('n1/e1', { state: 'sleeping', readyInMs: 700 })],
      { starts: 0, coldStarts: 2, coldReadyInMs: 700 },
    ],
    [
      'a sleeping engine for which others would have to sleep is not offered beside a full one',
      [makeView('n0/e0', { leases: 10 }), makeView('n1/e1', { state: 'sleeping', readyInMs: 700, disturbanceMs: 50 })],
      { starts: 0, coldStarts: 0 },
    ],
    [
      'but is offered where their models have room elsewhere',
      besideFull(makeView('n2/b', {}, { model: 'model-b' })),
      { starts: 0, coldStarts: 2 },
    ],
    [
      'not where the others of those models are more than half full',
      besideFull(makeView('n2/b', { reservedKvTokens: 60_000 }, { model: 'model-b' })),
      { starts: 0, coldStarts: 0 },
    ],
    [
      'not where somebody waits on its GPU for a model that sleeps',
      besideFull(
        makeView('n2/b', {}, { model: 'model-b' }),
        makeView('n1/c', { state: 'sleeping', leases: 1 }, { model: 'model-c' }),
      ),
      { starts: 0, coldStarts: 0 },
    ],
    [
      'but is offered when no engine of the model runs',
      [makeView('n1/e1', { state: 'sleeping', readyInMs: 700, disturbanceMs: 50 })],
      { starts: 2, readyInMs: 700 },
    ],
    [
      'a second wake is not offered while one is under way',
      [
        makeView('n0/e0', { leases: 10 }),
        makeView('n1/e1', { state: 'waking', readyInMs: 200, leases: 2 }),
        makeView('n2/e2', { state: 'sleeping', readyInMs: 700 }),
      ],
      { starts: 0, coldStarts: 0 },
    ],
    ['nothing that could serve', [makeView('n0/e0', { state: 'failed' })], { starts: 0 }],
  ];
  it.each(CASES)('%s', (_name, views, expected) => {
    expect(capacityOf(router(views), 7)).toMatchObject(expected);
  });
});
