import type { GbdtParams, Link } from './types.js';

/** What is being minimised: its derivatives for growing trees, and the loss itself for stopping early. */
export interface ObjectiveRule {
  readonly link: Link;
  /** When set, the value of a leaf is this quantile of its residuals, because the gradients of these losses carry only a sign. */
  readonly leafQuantile: number | undefined;
  /** The best constant score. */
  initialScore(target: Float64Array, weights: Float64Array | undefined): number;
  /** Derivatives of the loss by the score; `into` has gradient and hessian of each row side by side. */
  gradients(score: Float64Array, target: Float64Array, weights: Float64Array | undefined, into: Float64Array): void;
  /** Loss of one row by its raw score. */
  loss(score: number, target: number): number;
  /** What no score can take off it. */
  leastLoss(target: number): number;
}

const NONE = () => 0;

export function objectiveRule(params: Pick<GbdtParams, 'objective' | 'alpha'>): ObjectiveRule {
  switch (params.objective) {
    case 'l2':
      return SQUARED;
    case 'l1':
      return ABSOLUTE;
    case 'quantile':
      if (!(params.alpha !== undefined && params.alpha > 0 && params.alpha < 1)) {
        throw new RangeError(`the quantile objective needs alpha in (0, 1), not ${params.alpha}`);
      }
      return pinballRule(params.alpha);
    case 'poisson':
      return POISSON;
    case 'binary':
      return LOGISTIC;
  }
}

const SQUARED: ObjectiveRule = {
  link: 'identity',
  leafQuantile: undefined,
  initialScore: weightedMean,
  gradients(score, target, weights, into) {
    for (let row = 0; row < target.length; row++) {
      const weight = weights === undefined ? 1 : weights[row]!;
      into[2 * row] = (score[row]! - target[row]!) * weight;
      into[2 * row + 1] = weight;
    }
  },
  loss: (score, target) => (score - target) ** 2,
  leastLoss: NONE,
};

/** LightGBM's `poisson_max_delta_step`: what the second derivative assumes that the score may still rise, so that leaves stay moderate. */
const POISSON_MAX_DELTA = 0.7;

/** The score is the logarithm of the mean. Targets are not negative, and not all 0. */
const POISSON: ObjectiveRule = {
  link: 'identity',
  leafQuantile: undefined,
  initialScore: (target, weights) => Math.log(Math.max(Number.MIN_VALUE, weightedMean(target, weights))),
  gradients(score, target, weights, into) {
    for (let row = 0; row < target.length; row++) {
      const weight = weights === undefined ? 1 : weights[row]!;
      into[2 * row] = (Math.exp(score[row]!) - target[row]!) * weight;
      into[2 * row + 1] = Math.exp(score[row]! + POISSON_MAX_DELTA) * weight;
    }
  },
  loss: (score, target) => Math.exp(score) - target * score,
  leastLoss: (target) => (target > 0 ? target - target * Math.log(target) : 0),
};

/** Keeps the first score finite when every target is 0 or every target 1. */
const MIN_SHARE = 1e-6;

const LOGISTIC: ObjectiveRule = {
  link: 'logistic',
  leafQuantile: undefined,
  initialScore(target, weights) {
    const share = Math.min(1 - MIN_SHARE, Math.max(MIN_SHARE, weightedMean(target, weights)));
    return Math.log(share / (1 - share));
  },
  gradients(score, target, weights, into) {
    for (let row = 0; row < target.length; row++) {
      const weight = weights === undefined ? 1 : weights[row]!;
      const probability = 1 / (1 + Math.exp(-score[row]!));
      into[2 * row] = (probability - target[row]!) * weight;
      into[2 * row + 1] = probability * (1 - probability) * weight;
    }
  },
  // log(1 + e^s) − y·s, in the form that does not overflow.
  loss: (score, target) => Math.max(score, 0) + Math.log1p(Math.exp(-Math.abs(score))) - target * score,
  leastLoss: NONE,
};

const ABSOLUTE: ObjectiveRule = {
  link: 'identity',
  leafQuantile: 0.5,
  initialScore: (target, weights) => weightedQuantile(target.slice(), weights, 0.5),
  gradients(score, target, weights, into) {
    for (let row = 0; row < target.length; row++) {
      const weight = weights === undefined ? 1 : weights[row]!;
      into[2 * row] = Math.sign(score[row]! - target[row]!) * weight;
      into[2 * row + 1] = weight;
    }
  },
  loss: (score, target) => Math.abs(score - target),
  leastLoss: NONE,
};

function pinballRule(alpha: number): ObjectiveRule {
  return {
    link: 'identity',
    leafQuantile: alpha,
    initialScore: (target, weights) => weightedQuantile(target.slice(), weights, alpha),
    gradients(score, target, weights, into) {
      for (let row = 0; row < target.length; row++) {
        const weight = weights === undefined ? 1 : weights[row]!;
        into[2 * row] = (score[row]! >= target[row]! ? 1 - alpha : -alpha) * weight;
        into[2 * row + 1] = weight;
      }
    },
    loss: (score, target) => (target >= score ? alpha : alpha - 1) * (target - score),
    leastLoss: NONE,
  };
}

function weightedMean(values: Float64Array, weights: Float64Array | undefined): number {
  let sum = 0;
  let total = 0;
  for (let row = 0; row < values.length; row++) {
    const weight = weights === undefined ? 1 : weights[row]!;
    sum += values[row]! * weight;
    total += weight;
  }
  return total > 0 ? sum / total : 0;
}

/**
 * The `alpha` quantile, as LightGBM takes it: without weights between the two neighbours of position `alpha × n`, with weights the first value
 * at which the running weight passes its share. `values` is left in another order. 0 when there are none.
 */
export function weightedQuantile(values: Float64Array, weights: Float64Array | undefined, alpha: number): number {
  const count = values.length;
  if (count === 0) return 0;
  if (weights === undefined) {
    values.sort();
    const fromTop = (1 - alpha) * count;
    const position = Math.floor(fromTop);
    if (position < 1) return values[count - 1]!;
    if (position >= count) return values[0]!;
    const upper = values[count - position]!;
    const lower = values[count - 1 - position]!;
    return upper - (upper - lower) * (fromTop - position);
  }
  return selectWeighted(values, weights.slice(), alpha);
}

/** Quickselect by weight: sorting all rows for each leaf of each tree takes most of a training. Both lists are left in another order. */
function selectWeighted(values: Float64Array, weights: Float64Array, alpha: number): number {
  let wanted = 0;
  for (const weight of weights) wanted += weight;
  wanted *= alpha;
  let start = 0;
  let end = values.length;
  let below = 0;
  for (;;) {
    const pivot = middleOfThree(values[start]!, values[(start + end) >> 1]!, values[end - 1]!);
    // Three parts: less than the pivot, equal to it, greater.
    let less = start;
    let greater = end;
    let lessWeight = 0;
    let equalWeight = 0;
    for (let index = start; index < greater; ) {
      const value = values[index]!;
      if (value < pivot) {
        lessWeight += weights[index]!;
        swap(values, less, index);
        swap(weights, less++, index++);
      } else if (value > pivot) {
        greater--;
        swap(values, index, greater);
        swap(weights, index, greater);
      } else {
        equalWeight += weights[index]!;
        index++;
      }
    }
    const upToPivot = below + lessWeight + equalWeight;
    if (below + lessWeight > wanted) end = less;
    else if (upToPivot > wanted || greater === end) return pivot;
    else {
      // This very sum: another order of adding could come out above what is wanted, and leave nothing to look through.
      below = upToPivot;
      start = greater;
    }
  }
}

function middleOfThree(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

function swap(list: Float64Array, a: number, b: number): void {
  const value = list[a]!;
  list[a] = list[b]!;
  list[b] = value;
}
