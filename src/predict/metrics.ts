/** Figures by which predictions are judged. All lists are parallel; none may be empty unless said. */

export function meanAbsoluteError(predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < truth.length; index++) sum += Math.abs(predicted[index]! - truth[index]!);
  return sum / truth.length;
}

/** Mean pinball loss of `q` quantiles. */
export function pinballLoss(q: number, predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < truth.length; index++) {
    const error = truth[index]! - predicted[index]!;
    sum += error >= 0 ? q * error : (q - 1) * error;
  }
  return sum / truth.length;
}

/** Share of the variance that is explained; 0 where there is none. */
export function rSquared(predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  let mean = 0;
  for (let index = 0; index < truth.length; index++) mean += truth[index]! / truth.length;
  let left = 0;
  let all = 0;
  // The mean of equal numbers is rounded, so that their squares may sum to more than nothing.
  let varies = false;
  for (let index = 0; index < truth.length; index++) {
    varies ||= truth[index] !== truth[0];
    left += (truth[index]! - predicted[index]!) ** 2;
    all += (truth[index]! - mean) ** 2;
  }
  return varies ? 1 - left / all : 0;
}

/** Area under the ROC curve: the chance that a positive has a higher score than a negative. Undefined without both kinds. */
export function areaUnderRoc(scores: readonly number[], positive: readonly boolean[]): number | undefined {
  const order = scores.map((_, index) => index).sort((a, b) => scores[a]! - scores[b]!);
  const positives = positive.filter(Boolean).length;
  const negatives = positive.length - positives;
  if (positives === 0 || negatives === 0) return undefined;
  let rankSum = 0;
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && scores[order[end]!] === scores[order[start]!]) end++;
    // Equal scores share the middle of their ranks, which count from 1.
    for (let index = start; index < end; index++) if (positive[order[index]!]) rankSum += (start + end + 1) / 2;
    start = end;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/** Pairs that are compared at most; more would take minutes and say the same to three digits. */
const MAX_PAIRS = 200_000;

/**
 * Kendall's τ-b: agreement of two orders, from −1 to 1. Of long lists every pair at a set of evenly spaced distances is compared, so that the
 * answer does not depend on chance. Undefined where one of the orders is all ties.
 */
export function kendallTau(a: ArrayLike<number>, b: ArrayLike<number>): number | undefined {
  const count = a.length;
  const distances = Math.max(1, Math.min(count - 1, Math.floor(MAX_PAIRS / Math.max(1, count))));
  const step = Math.max(1, Math.floor((count - 1) / distances));
  let balance = 0;
  let differInA = 0;
  let differInB = 0;
  for (let distance = 1; distance < count; distance += step) {
    for (let index = 0; index + distance < count; index++) {
      const signA = Math.sign(a[index]! - a[index + distance]!);
      const signB = Math.sign(b[index]! - b[index + distance]!);
      balance += signA * signB;
      differInA += Math.abs(signA);
      differInB += Math.abs(signB);
    }
  }
  return differInA === 0 || differInB === 0 ? undefined : balance / Math.sqrt(differInA * differInB);
}

/** The middle of the values, the upper one of two; undefined for none. */
export function medianOf(values: readonly number[]): number | undefined {
  return values.toSorted((x, y) => x - y)[values.length >> 1];
}
