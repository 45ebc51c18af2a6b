import { LruMap } from '../model/lru-map.js';
import { thousandths } from './keyed-windows.js';

/** Saved form of each kind: calls, means of what was said and of what came (log tokens), the variances of both and their covariance. */
export type LengthTrustState = readonly (readonly [
  kind: string,
  calls: number,
  said: number,
  truth: number,
  saidVariance: number,
  truthVariance: number,
  covariance: number,
])[];

/** Calls of one kind, in log tokens: what was said of them and what came. Older ones fade. */
interface SaidAndTrue {
  calls: number;
  said: number;
  truth: number;
  saidVariance: number;
  truthVariance: number;
  covariance: number;
}

/** Fewer calls say nothing. */
const MIN_CALLS = 16;
/** About so many of the newest calls count. */
const MEMORY_CALLS = 256;
/**
 * Standard errors by which the slope may be steeper than it looks. Noise is drawn in with two as with three; with two, predictions of coding agents, which hardly differ from each other, would be drawn in by a quarter as well
 * (tuning seed 1 of `bench/slo`).
 */
const DOUBT = 3;

/**
 * How much of what is said of the length of answers comes true, by kind of call: the slope of the true log length on the said one, learned online. With a slope of a half, what is said to be
 * four times as long as usual is reckoned with as twice as long. So what is right about predictions counts, and noise does not; what may be right is left as it is.
 */
export class LengthTrust {
  private readonly kinds: LruMap<string, SaidAndTrue>;

  constructor(maxKinds: number) {
    this.kinds = new LruMap(maxKinds);
  }

  /** Tokens to reckon with where so many were said of a call of the kind: drawn towards what is usually said, as far as such differences have not come true. */
  drawnIn(kind: string, saidTokens: number): number {
    const record = this.kinds.peek(kind);
    if (!record) return saidTokens;
    const trust = trustIn(record);
    return trust === 1 ? saidTokens : Math.exp(record.said + trust * (logOf(saidTokens) - record.said));
  }

  /** A call of the kind, of which so many tokens had been said, has ended with so many. */
  observe(kind: string, saidTokens: number, trueTokens: number): void {
    let record = this.kinds.get(kind);
    if (!record) {
      record = { calls: 0, said: 0, truth: 0, saidVariance: 0, truthVariance: 0, covariance: 0 };
      this.kinds.set(kind, record);
    }
    record.calls += 1;
    const weight = 1 / Math.min(record.calls, MEMORY_CALLS);
    const rest = 1 - weight;
    const said = logOf(saidTokens) - record.said;
    const truth = logOf(trueTokens) - record.truth;
    record.said += weight * said;
    record.truth += weight * truth;
    record.saidVariance = rest * (record.saidVariance + weight * said * said);
    record.truthVariance = rest * (record.truthVariance + weight * truth * truth);
    record.covariance = rest * (record.covariance + weight * said * truth);
  }

  state(): LengthTrustState {
    return [...this.kinds].map(([kind, { calls, said, truth, saidVariance, truthVariance, covariance }]) => [
      kind,
      calls,
      ...([thousandths(said), thousandths(truth)] as const),
      ...([thousandths(saidVariance), thousandths(truthVariance), thousandths(covariance)] as const),
    ]);
  }

  restore(state: LengthTrustState): void {
    for (const [kind, calls, said, truth, saidVariance, truthVariance, covariance] of state) {
      this.kinds.set(kind, { calls, said, truth, saidVariance, truthVariance, covariance });
    }
  }
}

/** The part of a difference that may come true, in [0, 1]. */
function trustIn({ calls, saidVariance, truthVariance, covariance }: SaidAndTrue): number {
  if (calls < MIN_CALLS || saidVariance === 0) return 1;
  const slope = covariance / saidVariance;
  const unexplained = Math.max(0, truthVariance - slope * covariance);
  const error = Math.sqrt(unexplained / (saidVariance * (Math.min(calls, MEMORY_CALLS) - 2)));
  return Math.max(0, Math.min(1, slope + DOUBT * error));
}

function logOf(tokens: number): number {
  return Math.log(Math.max(1, tokens));
}
