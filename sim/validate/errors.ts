/** Relative errors of a set of comparisons; 0.1 is 10 %. */
export interface ErrorSummary {
  readonly count: number;
  /** Median and 90th percentile of the size of the error. */
  readonly median: number;
  readonly p90: number;
  /** Median with its sign: negative where the simulator is too fast. */
  readonly bias: number;
}

export function summariseErrors(pairs: readonly (readonly [simulated: number, measured: number])[]): ErrorSummary {
  const errors = pairs.map(([simulated, measured]) => simulated / measured - 1).sort((a, b) => a - b);
  const sizes = errors.map(Math.abs).sort((a, b) => a - b);
  return { count: errors.length, median: quantile(sizes, 0.5), p90: quantile(sizes, 0.9), bias: quantile(errors, 0.5) };
}

/** Linear between the closest ranks; NaN for no values. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}
