import { LruMap } from '../model/lru-map.js';
import type { OutputForecast } from '../model/stage.js';

/** Mean and variance of an output, in tokens; of independent calls both add up. */
export interface Moments {
  readonly mean: number;
  readonly variance: number;
}

/** Running sums over the last calls of one kind, or of all. */
interface Sums {
  calls: number;
  truth: number;
  expected: number;
  squaredError: number;
  variance: number;
}

type SavedSums = readonly [calls: number, truth: number, expected: number, squaredError: number, variance: number];

/** Saved form. */
export interface PooledBoundState {
  readonly margin: number;
  readonly all: SavedSums;
  readonly kinds: readonly (readonly [kind: string, record: SavedSums])[];
}

/** Calls that the running ratios remember, and calls of a kind that weigh as much as what is known of all. Measured on the recorded traces, as are the next five. */
const MEMORY_CALLS = 1000;
const CALLS_TO_SPEAK = 10;
/** The margin in standard deviations begins high: a node that starts too low overflows while it learns. */
const FIRST_MARGIN = 3.5;
const MARGIN_STEP = 0.4;
/** So much is added while no call is known, and less as the records fill: ratios of few calls err by more than those of many. */
const NEW_MARGIN = 1;
/** The margin aims at this part of the target, because its start and its steps overshoot. */
const AIM = 0.7;
/**
 * How much errors of concurrent calls go together: those of n calls have 1 + 0.004 n times the variance that they would have apart. On the recorded traces it is 1.0 to 1.2 times at 16 calls, 1.2 to 1.5 at
 * 64 and 1.7 to 2.0 at 256.
 */
const CORRELATION = 0.004;
const MAX_MARGIN = 20;
const MAX_KINDS = 4096;
/** Standard deviations from the median of a normal distribution to its 95th percentile. */
const Z95 = 1.645;

/**
 * Memory that a node must hold for the outputs of its concurrent calls together: R = Σμ·b + z·√(Σs²σ²·(1 + ρn)) for n calls. Far less than the sum of their bounds, because
 * not all of them turn out long at once.
 *
 * Errors of concurrent calls are correlated (same workflow, same hour), so the more there are the less they even out (ρ), and nothing is taken from independent draws: b and s² are running ratios of the
 * last completions, of each kind of call with back-off to all, and z follows the share of looks at the node that found more used than held.
 */
export class PooledBound {
  private margin = FIRST_MARGIN;
  private readonly all = emptySums();
  private readonly kinds = new LruMap<string, Sums>(MAX_KINDS);

  /** @param targetOverflow Share of looks that may find more in use than {@link reserve} says. */
  constructor(private readonly targetOverflow = 0.01) {}

  /** What a call is expected to write, corrected by what such calls have written. */
  expect({ kind, mean, q50, q95 }: OutputForecast): Moments {
    const record = this.kinds.peek(kind);
    const bias = ratio(this.all.truth, this.all.expected, 1);
    const spread = ratio(this.all.squaredError, this.all.variance, 1);
    const calls = Math.max(1, this.all.calls);
    // So many calls like the average of all stand beside those of the kind.
    const expected = CALLS_TO_SPEAK * (this.all.expected / calls || 1);
    const variance = CALLS_TO_SPEAK * (this.all.variance / calls || 1);
    const ownBias = record ? ratio(record.truth + bias * expected, record.expected + expected, bias) : bias;
    const ownSpread = record
      ? ratio(record.squaredError + spread * variance, record.variance + variance, spread)
      : spread;
    return { mean: mean * ownBias, variance: ownSpread * rawVariance(mean, q50, q95) };
  }

  /** Tokens to hold for the outputs of so many calls that have these sums of {@link expect}. */
  reserve(mean: number, variance: number, calls: number): number {
    const margin = this.margin + NEW_MARGIN * (1 - this.all.calls / MEMORY_CALLS);
    return mean + margin * Math.sqrt(variance * (1 + CORRELATION * calls));
  }

  /** Learns from a call that ended. */
  observe(forecast: OutputForecast, outputTokens: number): void {
    const squaredError = (outputTokens - this.expect(forecast).mean) ** 2;
    let record = this.kinds.get(forecast.kind);
    if (!record) {
      record = emptySums();
      this.kinds.set(forecast.kind, record);
    }
    const variance = rawVariance(forecast.mean, forecast.q50, forecast.q95);
    for (const each of [record, this.all]) {
      const keep = 1 - 1 / MEMORY_CALLS;
      each.calls = each.calls * keep + 1;
      each.truth = each.truth * keep + outputTokens;
      each.expected = each.expected * keep + forecast.mean;
      each.squaredError = each.squaredError * keep + squaredError;
      each.variance = each.variance * keep + variance;
    }
  }

  /** Learns from a look whether more was in use than {@link reserve} says. */
  observeNode(overflowed: boolean): void {
    this.margin += MARGIN_STEP * ((overflowed ? 1 : 0) - AIM * this.targetOverflow);
    this.margin = Math.max(0, Math.min(MAX_MARGIN, this.margin));
  }

  state(): PooledBoundState {
    const kinds = [...this.kinds].map(([kind, record]) => [kind, saved(record)] as const);
    return { margin: this.margin, all: saved(this.all), kinds };
  }

  restore({ margin, all, kinds }: PooledBoundState): void {
    this.margin = margin;
    Object.assign(this.all, unsaved(all));
    for (const [kind, record] of kinds) this.kinds.set(kind, unsaved(record));
  }
}

function emptySums(): Sums {
  return { calls: 0, truth: 0, expected: 0, squaredError: 0, variance: 0 };
}

function saved({ calls, truth, expected, squaredError, variance }: Sums): SavedSums {
  return [calls, truth, expected, squaredError, variance];
}

function unsaved([calls, truth, expected, squaredError, variance]: SavedSums): Sums {
  return { calls, truth, expected, squaredError, variance };
}

/**
 * Up to the factor that is learned. The spread once and the mean once, not the spread squared: a q95 is the least certain of the forecasts. The same margin then overflows
 * half as often on the recorded traces.
 */
function rawVariance(mean: number, q50: number, q95: number): number {
  return ((q95 - q50) / Z95) * mean;
}

function ratio(part: number, whole: number, unknown: number): number {
  return whole > 0 ? part / whole : unknown;
}
