import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineState, EngineView } from '../model/fleet.js';
import { ClusterRouter } from './router.js';

const LOOK_AHEAD = 2;
const STATES: EngineState[] = ['running', 'sleeping', 'waking', 'draining', 'down', 'failed'];

interface EngineDraw {
  readonly engine: number;
  readonly state: EngineState;
  readonly model: string;
  readonly leases: number;
  readonly reserved: number;
  readonly ready: number;
}

const UPDATE: fc.Arbitrary<EngineDraw> = fc.record({
  engine: fc.integer({ min: 0, max: 60 }),
  state: fc.oneof({ weight: 4, arbitrary: fc.constant<EngineState>('running') }, fc.constantFrom(...STATES)),
  model: fc.constantFrom('model-a', 'model-a', 'model-a', 'model-b'),
  leases: fc.integer({ min: 0, max: 10 }),
  reserved: fc.constantFrom(0, 50_000, 98_000, 98_001, 99_990),
  ready: fc.constantFrom(100, 4_000, Number.POSITIVE_INFINITY),
});

/** The plain statement of what can take a stage, by a full scan. */
function canTake(view: EngineView, bound: number, excluded: ReadonlySet<string>): boolean {
  if (view.spec.model !== 'model-a' || excluded.has(view.spec.engineId)) return false;
  const running = view.state === 'running';
  const wakeable = (view.state === 'sleeping' || view.state === 'waking') && Number.isFinite(view.readyInMs);
  if (!running && !wakeable) return false;
  const places = running ? view.seats + LOOK_AHEAD : LOOK_AHEAD;
  if (view.leases >= places) return false;
  return view.reservedKvTokens === 0 || bound <= view.kvPoolTokens - view.reservedKvTokens;
}

function apply(router: ClusterRouter, views: Map<string, EngineView>, draws: readonly EngineDraw[]): void {
  draws.forEach((draw, index) => {
    const engineId = `n${draw.engine}/e`;
    const { state, leases } = draw;
    const changes = { state, leases, version: index, reservedKvTokens: draw.reserved, readyInMs: draw.ready };
    const view = makeView(engineId, changes, { model: draw.model });
    views.set(engineId, view);
    router.update(view);
  });
}

describe('ClusterRouter', () => {
  it('places a stage exactly when a full scan finds an engine for it, and on one that the scan accepts', () => {
    fc.assert(
      fc.property(
        fc.array(UPDATE, { maxLength: 120 }),
        fc.integer({ min: 1, max: 4_000 }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 5 }),
        (draws, bound, excludedEngines, removed) => {
          const router = new ClusterRouter({ lookAhead: LOOK_AHEAD });
          const views = new Map<string, EngineView>();
          apply(router, views, draws);
          for (const engine of removed) {
            router.remove(`n${engine}/e`);
            views.delete(`n${engine}/e`);
          }
          const excluded = new Set(excludedEngines.map((engine) => `n${engine}/e`));
          const prediction = makePrediction({ kvTokens: { q50: 1, bound } });
          const feasible = [...views.values()].filter((view) => canTake(view, bound, excluded));
          const result = router.place(makeStage(), prediction, 0, excluded);
          expect(result.kind).toBe(feasible.length > 0 ? 'place' : 'bounce');
          if (result.kind === 'place') {
            expect(feasible.map((view) => view.spec.engineId)).toContain(result.engineId);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it('sums capacity as a full scan does, after any sequence of views and placements', () => {
    fc.assert(
      fc.property(fc.array(UPDATE, { maxLength: 120 }), fc.integer({ min: 0, max: 6 }), (draws, placements) => {
        const router = new ClusterRouter({ lookAhead: LOOK_AHEAD });
        const views = new Map<string, EngineView>();
        apply(router, views, draws);
        let placed = 0;
        for (let index = 0; index < placements; index++) {
          const prediction = makePrediction({ kvTokens: { q50: 1, bound: 10 } });
          const result = router.place(makeStage({ stageId: `s${index}` }), prediction, 0);
          if (result.kind === 'place' && views.get(result.engineId)!.state === 'running') placed += 1;
        }
        const running = [...views.values()].filter(
          ({ spec, state }) => spec.model === 'model-a' && state === 'running',
        );
        const capacity = router.capacity(0).models.find(({ model }) => model === 'model-a');
        if (running.length === 0) return;
        const places = running.reduce((sum, view) => sum + Math.max(0, view.seats + LOOK_AHEAD - view.leases), 0);
        expect(capacity!.starts).toBe(places - placed);
      }),
    );
  });
});
