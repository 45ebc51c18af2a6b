/**
 * What is kept of a set of numbers. Quantiles interpolate linearly between order statistics (numpy's default, which
 * `vllm bench serve` uses) and `std` is the population's. Every statistic is null when there was nothing to measure.
 */
export interface Distribution {
  count: number;
  mean: number | null;
  std: number | null;
  min: number | null;
  p50: number | null;
  p90: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
}

/** A value that stands for `weight` observations. */
export interface WeightedValue {
  readonly value: number;
  readonly weight: number;
}

/** Ascending copy without what is not a finite number. Typed, because those sort by number without a comparator, far faster. */
export function sortedFinite(values: readonly number[]): Float64Array {
  return Float64Array.from(values.filter(Number.isFinite)).sort();
}

/** Quantile `q` (0..1) of ascending `sorted`, by linear interpolation; undefined when it is empty. */
export function quantileSorted(sorted: Float64Array, q: number): number | undefined {
  if (sorted.length === 0) return undefined;
  const position = Math.min(1, Math.max(0, q)) * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  // Written so that equal neighbours give exactly themselves, and the result never leaves their interval.
  return low === high ? low : Math.min(high, low + (high - low) * (position - below));
}

/** Quantile `q` (0..1) of unsorted values. */
export function quantile(values: readonly number[], q: number): number | undefined {
  return quantileSorted(sortedFinite(values), q);
}

function mean(values: Float64Array): number | undefined {
  if (values.length === 0) return undefined;
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Largest of `values` and `floor`. A loop, because spreading a long array into `Math.max` overflows the stack. */
export function largest(values: readonly number[], floor: number): number {
  let max = floor;
  for (const value of values) if (value > max) max = value;
  return max;
}

export function summarize(values: readonly number[]): Distribution {
  const sorted = sortedFinite(values);
  const average = mean(sorted);
  if (average === undefined) return EMPTY;
  let squares = 0;
  for (const value of sorted) squares += (value - average) ** 2;
  return {
    count: sorted.length,
    mean: average,
    std: Math.sqrt(squares / sorted.length),
    min: sorted[0]!,
    p50: quantileSorted(sorted, 0.5)!,
    p90: quantileSorted(sorted, 0.9)!,
    p95: quantileSorted(sorted, 0.95)!,
    p99: quantileSorted(sorted, 0.99)!,
    max: sorted.at(-1)!,
  };
}

/** Like {@link summarize}, for values that stand for many observations each. Quantiles are the lowest value that reaches them. */
export function summarizeWeighted(values: readonly WeightedValue[]): Distribution {
  const sorted = values
    .filter(({ value, weight }) => Number.isFinite(value) && weight > 0)
    .sort((a, b) => a.value - b.value);
  let total = 0;
  let sum = 0;
  for (const { value, weight } of sorted) {
    total += weight;
    sum += value * weight;
  }
  if (total === 0) return EMPTY;
  const average = sum / total;
  let squares = 0;
  for (const { value, weight } of sorted) squares += weight * (value - average) ** 2;
  const at = (q: number): number => {
    let reached = 0;
    for (const { value, weight } of sorted) {
      reached += weight;
      if (reached >= q * total) return value;
    }
    return sorted.at(-1)!.value;
  };
  return {
    count: Math.round(total),
    mean: average,
    std: Math.sqrt(squares / total),
    min: sorted[0]!.value,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    max: sorted.at(-1)!.value,
  };
}

/**
 * Jain's fairness index of non-negative shares: 1 when all are equal, 1/n when one has everything; undefined when there is
 * nothing to share.
 */
export function jainIndex(shares: readonly number[]): number | undefined {
  let sum = 0;
  let squares = 0;
  for (const share of shares) {
    sum += share;
    squares += share * share;
  }
  return squares === 0 ? undefined : (sum * sum) / (shares.length * squares);
}

const EMPTY: Distribution = Object.freeze({
  count: 0,
  mean: null,
  std: null,
  min: null,
  p50: null,
  p90: null,
  p95: null,
  p99: null,
  max: null,
});
