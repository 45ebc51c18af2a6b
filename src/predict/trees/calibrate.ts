import type { TreeEnsemble } from './types.js';

/** What a raw score is turned into before the link: `slope × score + intercept`. */
export interface ScoreLine {
  readonly slope: number;
  readonly intercept: number;
}

const MAX_STEPS = 50;

/**
 * Platt scaling: the line that makes `1 / (1 + e^−(slope × score + intercept))` the most likely account of `labels` (0 or 1). Boosted trees are too sure of
 * themselves on rows they have not seen, so scores and labels must come from rows that were kept back.
 *
 * Labels are pulled in by Platt's own prior of one example each, so that a perfect separation still has an answer.
 */
export function fitPlatt(scores: Float64Array, labels: Float64Array): ScoreLine {
  const ones = labels.reduce((sum, label) => sum + label, 0);
  const zeros = labels.length - ones;
  const [high, low] = [(ones + 1) / (ones + 2), 1 / (zeros + 2)];
  let slope = 1;
  let intercept = 0;
  let loss = lossOf(scores, labels, high, low, slope, intercept);
  for (let step = 0; step < MAX_STEPS; step++) {
    let [gradientA, gradientB, aa, ab, bb] = [0, 0, 1e-9, 0, 1e-9];
    scores.forEach((score, row) => {
      const probability = 1 / (1 + Math.exp(-(slope * score + intercept)));
      const error = probability - (labels[row]! * high + (1 - labels[row]!) * low);
      const curvature = probability * (1 - probability);
      gradientA += error * score;
      gradientB += error;
      aa += curvature * score * score;
      ab += curvature * score;
      bb += curvature;
    });
    const determinant = aa * bb - ab * ab;
    const stepA = (bb * gradientA - ab * gradientB) / determinant;
    const stepB = (aa * gradientB - ab * gradientA) / determinant;
    // A full Newton step overshoots where the curve is flat; half of it, and half again, until the loss falls.
    let share = 1;
    let next = lossOf(scores, labels, high, low, slope - stepA, intercept - stepB);
    while (!(next < loss) && share > 1e-6) {
      share /= 2;
      next = lossOf(scores, labels, high, low, slope - share * stepA, intercept - share * stepB);
    }
    if (!(next < loss)) break;
    slope -= share * stepA;
    intercept -= share * stepB;
    if (loss - next < 1e-10 * loss) break;
    loss = next;
  }
  return { slope, intercept };
}

/** The ensemble whose score is `slope × score + intercept`: calibration that lies in the trees, so that every evaluator has it. */
export function withScoreLine(ensemble: TreeEnsemble, { slope, intercept }: ScoreLine): TreeEnsemble {
  return {
    ...ensemble,
    leafValues: ensemble.leafValues.map((value) => Math.fround(value * slope)),
    baseScore: Math.fround(ensemble.baseScore * slope + intercept),
  };
}

function lossOf(
  scores: Float64Array,
  labels: Float64Array,
  high: number,
  low: number,
  slope: number,
  intercept: number,
): number {
  let loss = 0;
  for (let row = 0; row < scores.length; row++) {
    const score = slope * scores[row]! + intercept;
    const wanted = labels[row]! * high + (1 - labels[row]!) * low;
    // log(1 + e^s) − wanted × s, in the form that does not overflow.
    loss += Math.max(score, 0) + Math.log1p(Math.exp(-Math.abs(score))) - wanted * score;
  }
  return loss;
}
