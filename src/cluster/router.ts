import { clear } from '../model/clear.js';
import type {
  CapacityChanges,
  EngineSpec,
  EngineView,
  KeptContext,
  ModelCapacity,
  PlaceResult,
} from '../model/fleet.js';
import type { Prediction, Stage } from '../model/stage.js';
import { Candidates } from './candidates.js';
import {
  type EngineCosts,
  type EngineRecord,
  isAlike,
  isRunning,
  isUntouched,
  leasesOf,
  linearCosts,
  newEngineRecord,
  placesOf,
  type SeatLimits,
} from './engine-record.js';
import { Freshness } from './freshness.js';
import { GpuSharing } from './gpu-sharing.js';
import { KeptContexts } from './kept-contexts.js';
import { isSpared, ModelIndex } from './model-index.js';
import { MOVE_MARGIN_MS } from './moving.js';
import type { PlaceRequest } from './place-request.js';
import { PrefixIndex, type PrefixLimits } from './prefix.js';
import { updateRanks } from './rank-record.js';
import { bounce, bounceAll, refusalOf } from './refusals.js';
import { QUEUE_WAIT } from './score/queue-wait.js';
import { ENGINE_SCORERS } from './score/registry.js';
import { explain, insertSorted, type Scored } from './scored.js';

export interface ClusterRouterConfig extends SeatLimits, PrefixLimits {
  readonly clusterId: string;
  /** An engine that has not been heard of for so long gets nothing new. Infinity where the link itself tells. */
  readonly staleAfterMs: number;
  /** Round trip to a node, milliseconds. */
  readonly rttMs: (nodeId: string) => number;
  /** Are scores kept with their terms, for explanations? */
  readonly explains: boolean;
  /** What work costs on an engine; the default is read off the step-time model. */
  readonly costs: (spec: EngineSpec) => EngineCosts;
}

export const DEFAULT_ROUTER_CONFIG: ClusterRouterConfig = {
  clusterId: 'local',
  lookAhead: 4,
  unlimitedSeats: 65_536,
  maxPrefixes: 100_000,
  maxWorkflows: 20_000,
  staleAfterMs: Number.POSITIVE_INFINITY,
  rttMs: () => 0,
  explains: true,
  costs: linearCosts,
};

/** The engine that holds a stage, and the rank where it has several. */
interface HeldAt {
  readonly engineId: string;
  readonly rank?: number | undefined;
}

/** Weight of the newest lease in the mean of its model. */
const LEASE_WEIGHT = 0.05;

/**
 * Level 2: where a stage runs. Takes the few engines worth looking at from the indexes, drops those that cannot take the stage,
 * and chooses the one with the least expected delay, in milliseconds. Every call costs about the same at any size of the fleet.
 */
export class ClusterRouter {
  private readonly config: ClusterRouterConfig;
  private readonly engines = new Map<string, EngineRecord>();
  private readonly models = new Map<string, ModelIndex>();
  private readonly prefixes: PrefixIndex;
  private readonly kept: KeptContexts;
  private readonly freshness: Freshness;
  private readonly sharing = new GpuSharing();
  private readonly spared = (engineId: string) => isSpared(this.engines.get(engineId), this.models);
  private readonly candidates = new Candidates(this.engines, this.spared);
  /** Models whose capacity is not what was last told. */
  private readonly changedModels: string[] = [];

  constructor(config: Partial<ClusterRouterConfig> = {}) {
    this.config = { ...DEFAULT_ROUTER_CONFIG, ...config };
    this.prefixes = new PrefixIndex(this.config);
    this.kept = new KeptContexts(this.config.maxWorkflows);
    this.freshness = new Freshness(this.config.staleAfterMs);
  }

  /** The newest state of an engine; an older one than what is known is ignored. */
  update(view: EngineView): void {
    const { engineId, model } = view.spec;
    let engine = this.engines.get(engineId);
    if (engine && (view.version < engine.view.version || (engine.view === view && isUntouched(engine)))) return;
    if (engine && engine.view.spec.model !== model) {
      this.remove(engineId);
      engine = undefined;
    }
    const before = engine?.view;
    if (!engine) {
      engine = newEngineRecord(view, this.config.costs(view.spec), this.index(model).leaseTime);
      this.engines.set(engineId, engine);
    } else if (losesCache(engine.view, view)) engine.cacheGeneration += 1;
    if (engine.view.spec !== view.spec) engine.costs = this.config.costs(view.spec);
    engine.view = view;
    if (view.ranks || engine.ranks.length > 0) updateRanks(engine);
    if (view.pace !== before?.pace) engine.slowness = this.index(model).pace.slowness(view.pace, engine.costs);
    this.sharing.changed(engine, before);
    const stands = before !== undefined && view.pace === before.pace && isAlike(before, view) && isUntouched(engine);
    engine.stale = false;
    engine.pendingLeases = 0;
    engine.pendingKvTokens = 0;
    if (stands) this.noteChange(model, this.index(model));
    else this.put(engine);
    this.freshness.heard(engine);
  }

  remove(engineId: string): void {
    const engine = this.engines.get(engineId);
    if (!engine) return;
    this.engines.delete(engineId);
    this.sharing.removed(engine);
    engine.cacheGeneration += 1;
    const { model } = engine.view.spec;
    const index = this.index(model);
    index.remove(engine);
    if (index.size === 0) this.models.delete(model);
    this.noteChange(model, index);
    this.freshness.forget(engine);
  }

  /**
   * The best place for a stage now, with the reasons. A placed stage counts against its engine until the engine's next view, so
   * that stages placed in one turn do not pile up on one engine.
   */
  place(stage: Stage, prediction: Prediction, nowMs: number, excluded: ReadonlySet<string> = new Set()): PlaceResult {
    this.markStale(nowMs);
    const index = this.models.get(stage.model);
    if (!index) return bounce('unknown-model', {});
    const request = this.requestOf(stage, prediction, nowMs, excluded);
    const refusals: Record<string, number> = {};
    const scored: Scored[] = [];
    for (const engine of this.candidates.find(request, index, refusals))
      insertSorted(scored, this.score(request, engine));
    const best = scored[0];
    if (!best) {
      // The global level has counted on a start that did not come.
      this.noteChange(stage.model, index);
      return bounceAll(request, index);
    }
    const awaited = this.worthWaiting(request, best);
    const explanation = explain(awaited ? [awaited, ...scored] : scored, refusals);
    const chosen = awaited ?? best;
    // As it was scored, before the stage itself counts there.
    const queueMs = awaited ? QUEUE_WAIT.delayMs(request, awaited.engine) : 0;
    const { view, rank } = chosen.engine;
    const { engineId, nodeId } = view.spec;
    const kvTokens = Math.min(prediction.kvTokens.bound, view.kvPoolTokens);
    this.count(chosen.engine, stage.choices ?? 1, kvTokens);
    if (!awaited) return { kind: 'place', engineId, nodeId, rank, kvTokens, explanation };
    // Worth waiting until the wait alone has cost what starting elsewhere would have cost more.
    const waitMs = best.totalMs - awaited.totalMs + queueMs;
    return { kind: 'hold', engineId, nodeId, rank, kvTokens, waitMs, explanation };
  }

  /**
   * Had a stage that is held at the engine better go elsewhere? Where another engine, or rank, runs that could take it at once, and has it done sooner by a margin: what was expected of the engine when the
   * stage was sent there may not have come, and others have got room since.
   */
  leaves(
    stage: Stage,
    prediction: Prediction,
    { engineId, rank }: HeldAt,
    nowMs: number,
    excluded: ReadonlySet<string> = new Set(),
  ): boolean {
    this.markStale(nowMs);
    const index = this.models.get(stage.model);
    const held = this.placeOf(engineId, rank);
    if (!index || !held || (index.size < 2 && held.rank === undefined)) return false;
    const request = this.requestOf(stage, prediction, nowMs, excluded);
    // One that runs and could not take it lets it in when a lease has ended.
    const waitMs = isRunning(held) ? held.leaseTime.meanMs : 0;
    const latestMs = this.score(request, held).totalMs + waitMs - MOVE_MARGIN_MS;
    return this.candidates
      .find(request, index, {})
      .some((engine) => engine !== held && isRunning(engine) && this.score(request, engine).totalMs < latestMs);
  }

  /** A stage has been given to an engine, and to this rank of it where it has several: its prompt will be in the cache there. */
  sent(stage: Stage, engineId: string, rank?: number): void {
    const engine = this.placeOf(engineId, rank);
    if (!engine) return;
    this.prefixes.learn(stage, engine);
    this.kept.returned(stage);
  }

  /** The engine keeps the context. */
  keep(engineId: string, context: KeptContext): void {
    const engine = this.placeOf(engineId, context.rank);
    if (engine) this.kept.keep(engine, context);
  }

  /** A lease on the engine has ended after so long. */
  ended(engineId: string, leaseMs: number): void {
    const leaseTime = this.engines.get(engineId)?.leaseTime;
    if (leaseTime) leaseTime.meanMs += LEASE_WEIGHT * (leaseMs - leaseTime.meanMs);
  }

  /** What the cluster can start now of all its models. */
  capacity(nowMs: number): CapacityChanges {
    this.markStale(nowMs);
    const models = [...this.models.values()].map((index) => index.capacity());
    return { clusterId: this.config.clusterId, models };
  }

  /** The same of the models for which it has changed since the last call; one that no engine serves any more can start nothing. */
  capacityChanges(nowMs: number): CapacityChanges {
    this.markStale(nowMs);
    const models = this.changedModels.map((model) => {
      const index = this.models.get(model);
      if (index) index.changeNoted = false;
      return index?.capacity() ?? nothing(model);
    });
    clear(this.changedModels);
    return { clusterId: this.config.clusterId, models };
  }

  private requestOf(stage: Stage, prediction: Prediction, nowMs: number, excluded: ReadonlySet<string>): PlaceRequest {
    const cachedTokens = this.prefixes.cachedTokens(stage);
    const kept = this.kept.find(stage, nowMs);
    const { config } = this;
    return { stage, prediction, excluded, limits: config, cachedTokens, kept, rttMs: config.rttMs };
  }

  /** Where stages are placed: the rank, or an engine without. */
  private placeOf(engineId: string, rank: number | undefined): EngineRecord | undefined {
    const engine = this.engines.get(engineId);
    return rank === undefined ? engine : (engine?.ranks[rank] ?? engine);
  }

  /** A stage is there that the engine's view does not show yet. */
  private count(place: EngineRecord, leases: number, kvTokens: number): void {
    place.pendingLeases += leases;
    place.pendingKvTokens += kvTokens;
    if (place.whole) this.count(place.whole, leases, kvTokens);
    else this.put(place);
  }

  private put(engine: EngineRecord): void {
    const { model } = engine.view.spec;
    const index = this.index(model);
    index.put(engine);
    this.noteChange(model, index);
  }

  private noteChange(model: string, index: ModelIndex): void {
    if (index.changeNoted) return;
    index.changeNoted = true;
    this.changedModels.push(model);
  }

  /**
   * Delay scheduling: a running engine that has the prompt cached but no seat just now, if waiting for its seat is expected to
   * cost less than computing the prompt anew on the best engine that could start at once.
   */
  private worthWaiting(request: PlaceRequest, best: Scored): Scored | undefined {
    let awaited: Scored | undefined;
    for (const engine of request.cachedTokens.keys()) {
      if (!isRunning(engine) || refusalOf(request, engine) !== 'seat') continue;
      const overbooked = leasesOf(engine) - placesOf(engine, this.config);
      if (overbooked >= Math.max(1, this.config.lookAhead)) continue;
      const candidate = this.score(request, engine);
      if (candidate.totalMs < (awaited ?? best).totalMs) awaited = candidate;
    }
    return awaited;
  }

  private score(request: PlaceRequest, engine: EngineRecord): Scored {
    const count = ENGINE_SCORERS.length;
    const delaysMs = this.config.explains ? new Array<number>(count) : undefined;
    let totalMs = 0;
    for (let index = 0; index < count; index++) {
      const delayMs = ENGINE_SCORERS[index]!.delayMs(request, engine);
      totalMs += delayMs;
      if (delaysMs) delaysMs[index] = delayMs;
    }
    return { engine, totalMs, delaysMs };
  }

  private index(model: string): ModelIndex {
    let index = this.models.get(model);
    if (!index) {
      index = new ModelIndex(model, this.config, this.spared);
      this.models.set(model, index);
    }
    return index;
  }

  private markStale(nowMs: number): void {
    for (let silent = this.freshness.takeSilent(nowMs); silent; silent = this.freshness.takeSilent(nowMs)) {
      silent.stale = true;
      this.put(silent);
    }
  }
}

/** Sleep discards the KV cache, and an engine that was down has started anew. */
function losesCache(before: EngineView, now: EngineView): boolean {
  return (
    before.state !== now.state &&
    (now.state === 'falling-asleep' ||
      now.state === 'sleeping' ||
      now.state === 'sleeping-deep' ||
      now.state === 'down')
  );
}

function nothing(model: string): ModelCapacity {
  return { model, starts: 0, maxKvTokens: 0, readyInMs: Number.POSITIVE_INFINITY };
}
