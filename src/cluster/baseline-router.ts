import type { EngineView, PlaceExplanation, PlaceResult } from '../model/fleet.js';
import type { Prediction, Stage } from '../model/stage.js';
import { RecentMap } from './recent-map.js';
import { ClusterRouter, type ClusterRouterConfig, DEFAULT_ROUTER_CONFIG } from './router.js';

const NO_EXPLANATION: PlaceExplanation = { candidates: [], refusals: {} };

export type BaselineKind = 'round-robin' | 'least-loaded' | 'affinity';

/** Workflows whose engine `affinity` remembers. */
const REMEMBERED_HOMES = 100_000;

/**
 * What plain load balancers do, behind the calls of {@link ClusterRouter}, to measure the router against: `round-robin` takes the next running engine of
 * the model that has a place, `least-loaded` the one with the fewest leases. Neither looks at prefixes, prefill or costs; where no engine of the model
 * is awake, both take the first that sleeps. `affinity` keeps every workflow on the engine where round-robin put its first call of a model, whatever the wait.
 */
export class BaselineRouter extends ClusterRouter {
  private readonly byModel = new Map<string, EngineView[]>();
  private readonly places: Map<string, number> = new Map();
  private readonly homes = new RecentMap<string, string>(REMEMBERED_HOMES);
  private turn = 0;
  private readonly limits: ClusterRouterConfig;

  constructor(
    private readonly kind: BaselineKind,
    config: Partial<ClusterRouterConfig> = {},
  ) {
    super(config);
    this.limits = { ...DEFAULT_ROUTER_CONFIG, ...config };
  }

  override update(view: EngineView): void {
    super.update(view);
    const { engineId, model } = view.spec;
    let views = this.byModel.get(model);
    if (!views) {
      views = [];
      this.byModel.set(model, views);
    }
    const place = this.places.get(engineId);
    if (place === undefined) {
      this.places.set(engineId, views.length);
      views.push(view);
    } else views[place] = view;
  }

  /** Neither prefixes nor the length of leases matter to it. */
  override sent(): void {}

  override ended(): void {}

  override leaves(): boolean {
    return false;
  }

  override place(
    stage: Stage,
    prediction: Prediction,
    _nowMs: number,
    excluded: ReadonlySet<string> = new Set(),
  ): PlaceResult {
    const views = this.byModel.get(stage.model) ?? [];
    const chosen =
      this.home(views, stage, excluded) ??
      this.choose(views, prediction.kvTokens.bound, excluded) ??
      firstAsleep(views, excluded);
    if (!chosen)
      return { kind: 'bounce', reason: views.length === 0 ? 'unknown-model' : 'no-room', explanation: NO_EXPLANATION };
    const { engineId, nodeId } = chosen.spec;
    if (this.kind === 'affinity') this.homes.set(homeKey(stage), engineId);
    const kvTokens = Math.min(prediction.kvTokens.bound, chosen.kvPoolTokens);
    return { kind: 'place', engineId, nodeId, kvTokens, explanation: NO_EXPLANATION };
  }

  private home(views: readonly EngineView[], stage: Stage, excluded: ReadonlySet<string>): EngineView | undefined {
    if (this.kind !== 'affinity') return undefined;
    const engineId = this.homes.get(homeKey(stage));
    if (engineId === undefined || excluded.has(engineId)) return undefined;
    const view = views[this.places.get(engineId)!];
    return view && view.state !== 'down' && view.state !== 'failed' ? view : undefined;
  }

  private choose(
    views: readonly EngineView[],
    kvTokens: number,
    excluded: ReadonlySet<string>,
  ): EngineView | undefined {
    let least: EngineView | undefined;
    for (let step = 0; step < views.length; step++) {
      const view = views[(this.turn + step) % views.length]!;
      if (!this.takes(view, kvTokens) || excluded.has(view.spec.engineId)) continue;
      if (this.kind !== 'least-loaded') {
        this.turn = (this.turn + step + 1) % views.length;
        return view;
      }
      if (!least || view.leases < least.leases) least = view;
    }
    return least;
  }

  private takes({ state, leases, seats, reservedKvTokens, kvPoolTokens }: EngineView, kvTokens: number): boolean {
    if (state !== 'running' || leases >= Math.min(seats, this.limits.unlimitedSeats) + this.limits.lookAhead)
      return false;
    return reservedKvTokens === 0 || reservedKvTokens + kvTokens <= kvPoolTokens;
  }
}

function homeKey({ workflowId, model }: Stage): string {
  return `${workflowId}\n${model}`;
}

function firstAsleep(views: readonly EngineView[], excluded: ReadonlySet<string>): EngineView | undefined {
  return views.find(
    ({ spec, state, readyInMs }) =>
      state !== 'running' &&
      state !== 'down' &&
      state !== 'failed' &&
      Number.isFinite(readyInMs) &&
      !excluded.has(spec.engineId),
  );
}
