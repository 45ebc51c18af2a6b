import { stepShapeOf } from '../engine/step-shape.js';
import { stepCostOf } from '../engine/step-time.js';
import type { EngineSpec, EngineView } from '../model/fleet.js';

/** What work costs on an engine, milliseconds. */
export interface EngineCosts {
  readonly prefillMsPerToken: number;
  /** A decode step of one short sequence, and what each further sequence and each token of context add to it. */
  readonly stepMs: number;
  readonly stepMsPerSequence: number;
  readonly stepMsPerContextToken: number;
}

/** How long leases of a model last. Shared by its engines: what differs between them is less than what one of them sees by chance. */
export interface LeaseTime {
  /** Running mean, milliseconds. */
  meanMs: number;
}

/** What a router keeps of an engine: the newest view, and what it has done to the engine since. */
export interface EngineRecord {
  view: EngineView;
  costs: EngineCosts;
  /** Seats of stages placed here that the newest view does not hold yet. */
  pendingLeases: number;
  pendingKvTokens: number;
  /** Stages that wait for room on its GPUs at engines that sleep. */
  heldBeside: number;
  /** Nothing has been heard of the engine for too long. */
  stale: boolean;
  readonly leaseTime: LeaseTime;
  /** How many times as long as its siblings it takes, at its own costs; 1 where they differ by little. */
  slowness: number;
  /** Changes whenever the engine has lost its prefix cache. */
  cacheGeneration: number;
  /** Its data-parallel ranks, where we choose between several: stages are then placed on them, and it is their sum. */
  ranks: readonly EngineRecord[];
  /** Of a rank: which, and of which engine. */
  readonly rank?: number;
  readonly whole?: EngineRecord;
}

export const NO_RANKS: readonly EngineRecord[] = [];

/** An engine of which a first view has come. */
export function newEngineRecord(view: EngineView, costs: EngineCosts, leaseTime: LeaseTime): EngineRecord {
  return {
    view,
    costs,
    pendingLeases: 0,
    pendingKvTokens: 0,
    heldBeside: 0,
    stale: false,
    leaseTime,
    slowness: 1,
    cacheGeneration: 0,
    ranks: NO_RANKS,
  };
}

/** How many stages may be with an engine. */
export interface SeatLimits {
  /** Stages that may wait inside or for an engine beyond its seats: enough to hide the round trip to the global level. */
  readonly lookAhead: number;
  /** Seats of an engine of which nothing is known. */
  readonly unlimitedSeats: number;
}

/** Where nothing is known of model or GPU: an 8B-class model on a current data-centre GPU. */
const UNKNOWN_COSTS: EngineCosts = {
  prefillMsPerToken: 0.05,
  stepMs: 12,
  stepMsPerSequence: 0.03,
  stepMsPerContextToken: 4.5e-5,
};

/** The points of the step-time model between which its costs are taken for straight lines. */
const PREFILL_TOKENS = 2048;
const BATCH = 32;
const CONTEXT_TOKENS = 16_384;

/** Costs of an engine as straight lines through the step-time model: good enough to rank engines, and a few additions to use. */
export function linearCosts(spec: EngineSpec): EngineCosts {
  if (spec.measuredCosts) return spec.measuredCosts;
  const shape = stepShapeOf(spec);
  if (!shape) return UNKNOWN_COSTS;
  const cost = stepCostOf(shape);
  const stepMs = cost.decodeMs(1, 0);
  // What is in the engine is spread over its ranks.
  const { dataParallel: ranks = 1 } = spec;
  return {
    prefillMsPerToken: cost.prefillMs(PREFILL_TOKENS) / PREFILL_TOKENS,
    stepMs,
    stepMsPerSequence: Math.max(0, (cost.decodeMs(BATCH, 0) - stepMs) / (BATCH - 1)) / ranks,
    stepMsPerContextToken: (cost.decodeMs(1, CONTEXT_TOKENS) - stepMs) / CONTEXT_TOKENS / ranks,
  };
}

/** The engine itself, be it a rank or not. */
export function wholeOf(engine: EngineRecord): EngineRecord {
  return engine.whole ?? engine;
}

/** Name of an engine, or of one of its ranks, among those that a stage is not to be sent to again. */
export function placeName(engineId: string, rank: number | undefined): string {
  return rank === undefined ? engineId : `${engineId}#${rank}`;
}

export function isRunning(engine: EngineRecord): boolean {
  return engine.view.state === 'running';
}

/** Asleep or on the way between sleeping and running: could serve after `readyInMs`. */
export function isWakeable(engine: EngineRecord): boolean {
  const { state, readyInMs } = engine.view;
  if (state !== 'sleeping' && state !== 'sleeping-deep' && state !== 'waking' && state !== 'falling-asleep')
    return false;
  return Number.isFinite(readyInMs);
}

/** Nothing was placed there, and it was not taken for lost, since its view came. */
export function isUntouched({ stale, pendingLeases, pendingKvTokens }: EngineRecord): boolean {
  return !stale && pendingLeases === 0 && pendingKvTokens === 0;
}

/** Has an engine the same place in the index of its model? Sums do not tell of ranks. Of three views for a stage, that of its first token says only how much is left to prefill. */
export function isAlike(a: EngineView, b: EngineView): boolean {
  return (
    a.ranks === undefined &&
    b.ranks === undefined &&
    a.state === b.state &&
    a.leases === b.leases &&
    a.reservedKvTokens === b.reservedKvTokens &&
    a.keptKvTokens === b.keptKvTokens &&
    a.kvPoolTokens === b.kvPoolTokens &&
    a.seats === b.seats &&
    a.readyInMs === b.readyInMs
  );
}

/** Seats taken by the newest view and by what was placed since. */
export function leasesOf(engine: EngineRecord): number {
  return engine.view.leases + engine.pendingLeases;
}

/** Stages that may be with the engine, its look-ahead included; of an engine that is not running, the holds it may keep. */
export function placesOf(engine: EngineRecord, limits: SeatLimits): number {
  if (engine.ranks.length > 0) return engine.ranks.reduce((sum, rank) => sum + placesOf(rank, limits), 0);
  if (!isRunning(engine)) return Math.max(1, limits.lookAhead);
  return seatsOf(engine, limits) + limits.lookAhead;
}

export function seatsOf(engine: EngineRecord, limits: SeatLimits): number {
  return Math.min(engine.view.seats, limits.unlimitedSeats);
}

/** How many more stages the engine would take. */
export function freePlaces(engine: EngineRecord, limits: SeatLimits): number {
  if (engine.ranks.length > 0) return engine.ranks.reduce((sum, rank) => sum + freePlaces(rank, limits), 0);
  return Math.max(0, placesOf(engine, limits) - leasesOf(engine));
}

/**
 * Largest KV demand that the engine, or one of its ranks, could promise now. One that has promised nothing takes whatever its pool could ever
 * hold, so that a stage with a generous bound is not kept waiting for memory that does not exist.
 */
export function freeKvTokens(engine: EngineRecord): number {
  if (engine.ranks.length > 0) return Math.max(...engine.ranks.map(freeKvTokens));
  const { kvPoolTokens, reservedKvTokens, keptKvTokens = 0 } = engine.view;
  const promised = reservedKvTokens + engine.pendingKvTokens + keptKvTokens;
  return promised === 0 ? Number.POSITIVE_INFINITY : Math.max(0, kvPoolTokens - promised);
}
