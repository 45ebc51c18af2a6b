import type { StepReading } from '../model/fleet.js';
import type { EngineCounters } from './actions.js';

/** Readings that count, and how far apart they are: shorter spans hold few steps, after longer ones the engine may have stood still. */
const KEPT_READINGS = 12;
const LEAST_GAP_MS = 800;
const MOST_GAP_MS = 5_000;

/**
 * How fast an engine writes: the time that its leases lasted for each token that its counter has gone up. Prompts, and calls that wait inside the engine, only lengthen it, so the
 * shortest of some readings is the nearest to a plain step.
 */
export class Pace {
  private readings: StepReading[] = [];
  /** Of the readings, once there are enough: worked out as they come, because a view asks at every lease. */
  private least: StepReading | undefined;
  private last: { readonly tokens: number; readonly leaseMs: number; readonly atMs: number } | undefined;
  private seats = 0;
  private sinceMs = 0;
  /** Of all leases together, so far. */
  private leaseMs = 0;

  /** So many seats are taken from now on. */
  taken(seats: number, nowMs: number): void {
    this.leaseMs += this.seats * (nowMs - this.sinceMs);
    this.seats = seats;
    this.sinceMs = nowMs;
  }

  /** @param contextTokens KV memory that is in use. */
  observe({ running, waiting, generatedTokens }: EngineCounters, contextTokens: number, nowMs: number): void {
    const { last } = this;
    if (last && nowMs - last.atMs < LEAST_GAP_MS) return;
    this.taken(this.seats, nowMs);
    const { leaseMs } = this;
    // Tokens of requests that are not ours would make it look quick.
    const isOurs = running + waiting <= this.seats;
    this.last = isOurs && generatedTokens !== undefined ? { tokens: generatedTokens, leaseMs, atMs: nowMs } : undefined;
    if (!last || !this.last || nowMs - last.atMs > MOST_GAP_MS) return;
    const written = this.last.tokens - last.tokens;
    const spentMs = leaseMs - last.leaseMs;
    if (written <= 0 || spentMs <= 0) return;
    const sequences = Math.max(1, spentMs / (nowMs - last.atMs));
    this.readings.push({ stepMs: spentMs / written, sequences, contextTokens });
    if (this.readings.length > KEPT_READINGS) this.readings.shift();
    if (this.readings.length < KEPT_READINGS) return;
    this.least = this.readings.reduce((least, reading) => (reading.stepMs < least.stepMs ? reading : least));
  }

  /** Undefined where too little has been seen; and of an idle engine, so that a call tells whether it is as it was. */
  get shortest(): StepReading | undefined {
    return this.seats === 0 ? undefined : this.least;
  }

  /** Another process. */
  reset(): void {
    this.readings = [];
    this.least = undefined;
    this.last = undefined;
  }
}
