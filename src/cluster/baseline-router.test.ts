import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import { type BaselineKind, BaselineRouter } from './baseline-router.js';

const PREDICTION = makePrediction({ kvTokens: { q50: 1_200, bound: 2_000 } });
const VIEWS = [makeView('n/a', { leases: 3 }), makeView('n/b', { leases: 1 }), makeView('n/c', { leases: 2 })];

function router(kind: BaselineKind, views = VIEWS): BaselineRouter {
  const made = new BaselineRouter(kind, { lookAhead: 0 });
  for (const view of views) made.update(view);
  return made;
}

function places(made: BaselineRouter, workflowIds: readonly string[], excluded: readonly string[] = []): string[] {
  return workflowIds.map((workflowId) => {
    const result = made.place(makeStage({ workflowId }), PREDICTION, 0, new Set(excluded));
    return result.kind === 'place' ? result.engineId : result.kind;
  });
}

describe('BaselineRouter', () => {
  it('goes round in turn, past engines without a place', () => {
    expect(places(router('round-robin'), ['1', '2', '3', '4'])).toEqual(['n/a', 'n/b', 'n/c', 'n/a']);
    const full = [VIEWS[0]!, makeView('n/b', { leases: 8 }), VIEWS[2]!];
    expect(places(router('round-robin', full), ['1', '2', '3'])).toEqual(['n/a', 'n/c', 'n/a']);
  });

  it('takes the engine with the fewest leases', () => {
    expect(places(router('least-loaded'), ['1', '2'])).toEqual(['n/b', 'n/b']);
  });

  it('keeps a workflow where its first call went, even when that engine is full, until it is down', () => {
    const made = router('affinity');
    expect(places(made, ['1', '2', '1', '2', '1'])).toEqual(['n/a', 'n/b', 'n/a', 'n/b', 'n/a']);
    made.update(makeView('n/a', { version: 2, leases: 8 }));
    expect(places(made, ['1'])).toEqual(['n/a']);
    expect(places(made, ['2'], ['n/b'])).toEqual(['n/c']);
    made.update(makeView('n/a', { version: 3, state: 'down' }));
    expect(places(made, ['1', '1'])).toEqual(['n/b', 'n/b']);
  });

  it('wakes the first that sleeps when none is awake, and bounces when there is none', () => {
    const asleep = [makeView('n/a', { state: 'down' }), makeView('n/b', { state: 'sleeping', readyInMs: 500 })];
    expect(places(router('round-robin', asleep), ['1'])).toEqual(['n/b']);
    expect(places(router('least-loaded', [asleep[0]!]), ['1'])).toEqual(['bounce']);
  });
});
