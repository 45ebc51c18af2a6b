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
  /** Stages placed here that the newest view does not hold yet. */
  pendingLeases: number;
  pendingKvTokens: number;
  /** Nothing has been heard of the engine for too long. */
  stale: boolean;
  readonly leaseTime: LeaseTime;
  /** Changes whenever the engine has lost its prefix cache. */
  cacheGeneration: number;
}

/** How many stages may be with an engine. */
export interface SeatLimits {
  /** Stages that may wait inside or for an engine beyond its seats: enough to hide the round trip to the global level. */
  readonly lookAhead: number;
  /** Seats of an engine of which nothing is known. */
  readonly unlimitedSeats: number;
}

/** Share of peak arithmetic that a prefill reaches; usual for dense models of 8B to 70B on current GPUs. */
const PREFILL_EFFICIENCY = 0.5;
/** Share of memory bandwidth that a decode step reaches. */
const DECODE_EFFICIENCY = 0.75;
/** Measured on an 8B model: each further sequence of a decode step, milliseconds. */
const STEP_MS_PER_SEQUENCE = 0.03;
/** Where nothing is known of model or GPU. */
const UNKNOWN_COSTS: EngineCosts = {
  prefillMsPerToken: 0.05,
  stepMs: 12,
  stepMsPerSequence: STEP_MS_PER_SEQUENCE,
  stepMsPerContextToken: 4.5e-5,
};

/** Costs from a plain roofline: arithmetic bounds the prefill, memory traffic the decode step. Good enough to rank engines. */
export function rooflineCosts(spec: EngineSpec): EngineCosts {
  const { llm, gpu } = spec;
  if (!llm || !gpu) return UNKNOWN_COSTS;
  const gpus = Math.max(1, spec.gpuIndices.length);
  const flopPerToken = 2 * llm.activeParametersB * 1e9;
  const bytesPerMs = (DECODE_EFFICIENCY * gpu.memoryBandwidth) / 1000;
  return {
    prefillMsPerToken: (1000 * flopPerToken) / (PREFILL_EFFICIENCY * gpu.bf16Flops * gpus),
    stepMs: (spec.weightBytes * Math.min(1, llm.activeParametersB / llm.parametersB)) / bytesPerMs,
    stepMsPerSequence: STEP_MS_PER_SEQUENCE,
    stepMsPerContextToken: spec.kvBytesPerToken / bytesPerMs,
  };
}

export function isRunning(engine: EngineRecord): boolean {
  return engine.view.state === 'running';
}

/** Asleep or on the way between sleeping and running: could serve after `readyInMs`. */
export function isAsleep(engine: EngineRecord): boolean {
  const { state, readyInMs } = engine.view;
  if (state !== 'sleeping' && state !== 'sleeping-deep' && state !== 'waking' && state !== 'falling-asleep')
    return false;
  return Number.isFinite(readyInMs);
}

/** Leases of the newest view and what was placed since. */
export function leasesOf(engine: EngineRecord): number {
  return engine.view.leases + engine.pendingLeases;
}

/** Stages that may be with the engine, its look-ahead included; of an engine that is not running, the holds it may keep. */
export function placesOf(engine: EngineRecord, limits: SeatLimits): number {
  if (!isRunning(engine)) return Math.max(1, limits.lookAhead);
  return seatsOf(engine, limits) + limits.lookAhead;
}

export function seatsOf(engine: EngineRecord, limits: SeatLimits): number {
  return Math.min(engine.view.seats, limits.unlimitedSeats);
}

/** How many more stages the engine would take. */
export function freePlaces(engine: EngineRecord, limits: SeatLimits): number {
  return Math.max(0, placesOf(engine, limits) - leasesOf(engine));
}

/**
 * Largest KV demand that the engine could promise now. An engine that has promised nothing takes whatever its pool could ever
 * hold, so that a stage with a generous bound is not kept waiting for memory that does not exist.
 */
export function freeKvTokens(engine: EngineRecord): number {
  const { kvPoolTokens, reservedKvTokens } = engine.view;
  const promised = reservedKvTokens + engine.pendingKvTokens;
  return promised === 0 ? Number.POSITIVE_INFINITY : Math.max(0, kvPoolTokens - promised);
}
