/** What is expected of one call that holds memory, in tokens. */
export interface PooledCall {
  readonly mean: number;
  readonly q50: number;
  readonly q95: number;
}

/** Completions that the running ratios remember. */
const MEMORY_CALLS = 300;
/** Standard deviations from the median of a normal distribution to its 95th percentile. */
const Z95 = 1.645;
/** Start and step of the margin, in standard deviations: measured on recorded traces. */
const FIRST_MARGIN = 3;
const MARGIN_STEP = 0.5;
const MAX_MARGIN = 20;

/**
 * Memory that a node must hold for its concurrent calls together: R = Σμ·(1+b) + z·√(s²·Σσ²). Far less than the sum of their bounds, because not all
 * of them turn out long at once.
 *
 * Errors of concurrent calls are correlated (same workflow, same hour), so none of it is taken from independent draws: b and s² are running ratios
 * of the last completions, and z follows the share of windows that overflowed.
 */
export class PooledBound {
  private margin = FIRST_MARGIN;
  private truth = 0;
  private expected = 0;
  private squaredError = 0;
  private variance = 0;

  /** @param targetOverflow Share of looks at the node that may find more used than reserved. */
  constructor(private readonly targetOverflow = 0.01) {}

  /** Tokens to hold for the outputs of these calls. */
  reserve(calls: readonly PooledCall[]): number {
    let mean = 0;
    let variance = 0;
    for (const call of calls) {
      mean += call.mean;
      variance += varianceOf(call);
    }
    const spread = this.variance > 0 ? this.squaredError / this.variance : 1;
    return mean * this.bias + this.margin * Math.sqrt(spread * variance);
  }

  /** Learns from a call that ended. */
  observe(call: PooledCall, outputTokens: number): void {
    const keep = 1 - 1 / MEMORY_CALLS;
    this.truth = this.truth * keep + outputTokens;
    this.expected = this.expected * keep + call.mean;
    this.squaredError = this.squaredError * keep + (outputTokens - call.mean * this.bias) ** 2;
    this.variance = this.variance * keep + varianceOf(call);
  }

  /** Learns whether the node needed more than {@link reserve} had said. */
  observeNode(overflowed: boolean): void {
    this.margin += MARGIN_STEP * ((overflowed ? 1 : 0) - this.targetOverflow);
    this.margin = Math.max(0, Math.min(MAX_MARGIN, this.margin));
  }

  private get bias(): number {
    return this.expected > 0 ? this.truth / this.expected : 1;
  }
}

function varianceOf({ q50, q95 }: PooledCall): number {
  return ((q95 - q50) / Z95) ** 2;
}
