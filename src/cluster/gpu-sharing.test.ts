import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineView } from '../model/fleet.js';
import { type EngineRecord, newEngineRecord } from './engine-record.js';
import { GpuSharing } from './gpu-sharing.js';
import { ClusterRouter } from './router.js';

const costs = { prefillMsPerToken: 0.1, stepMs: 10, stepMsPerSequence: 0.1, stepMsPerContextToken: 0 };

const engineOf = (view: EngineView) => newEngineRecord(view, costs, { meanMs: 1_000 });

describe('GpuSharing', () => {
  const sharing = new GpuSharing();
  const awake = engineOf(makeView('n0/awake'));
  const asleep = engineOf(makeView('n0/asleep', { state: 'sleeping', leases: 2 }));
  const elsewhere = engineOf(makeView('n0/elsewhere', {}, { gpuIndices: [1] }));
  const wide = engineOf(makeView('n0/wide', {}, { gpuIndices: [0, 1] }));
  const all = [awake, asleep, elsewhere, wide];
  const held = () => all.map(({ heldBeside }) => heldBeside);
  const tell = (engine: EngineRecord, view: EngineView) => {
    const before = engine.view;
    engine.view = view;
    sharing.changed(engine, before);
  };

  it('counts for every engine what waits for its sleeping neighbours on a GPU that they share', () => {
    for (const engine of all) sharing.changed(engine, undefined);
    expect(held()).toEqual([2, 0, 0, 2]);
    tell(asleep, makeView('n0/asleep', { state: 'sleeping-deep', leases: 3 }));
    expect(held()).toEqual([3, 0, 0, 3]);
  });

  it('counts nobody who waits for an engine that wakes or runs', () => {
    tell(asleep, makeView('n0/asleep', { state: 'waking', leases: 3 }));
    expect(held()).toEqual([0, 0, 0, 0]);
    tell(asleep, makeView('n0/asleep', { state: 'sleeping', leases: 1 }));
    tell(asleep, makeView('n0/asleep', { state: 'running', leases: 3 }));
    expect(held()).toEqual([0, 0, 0, 0]);
  });

  it('follows an engine to another GPU, and forgets one that is gone', () => {
    tell(asleep, makeView('n0/asleep', { state: 'sleeping', leases: 4 }, { gpuIndices: [1] }));
    expect(held()).toEqual([0, 0, 4, 4]);
    sharing.removed(asleep);
    expect(held()).toEqual([0, 0, 0, 0]);
  });
});

describe('ClusterRouter on GPUs that models share', () => {
  const stage = makeStage();
  const prediction = makePrediction({ kvTokens: { q50: 1_200, bound: 2_000 } });
  const single = (leases: number) => makeView('n0/single', { state: 'sleeping', leases }, { model: 'model-b' });
  const placed = (...views: EngineView[]) => {
    const router = new ClusterRouter({ lookAhead: 2, costs: () => costs });
    for (const view of views) router.update(view);
    return router.place(stage, prediction, 0);
  };

  it('leaves a GPU on which others wait for a model that sleeps to them, if another engine has a seat', () => {
    const busy = makeView('n1/busy', { leases: 6 });
    expect(placed(makeView('n0/idle'), busy, single(0))).toMatchObject({ engineId: 'n0/idle' });
    expect(placed(makeView('n0/idle'), busy, single(1))).toMatchObject({ engineId: 'n1/busy' });
    expect(placed(makeView('n0/idle'), single(1))).toMatchObject({ engineId: 'n0/idle' });
  });
});
