import type { LengthContestant, Said, WorkContestant } from './contest.js';
import type { LengthEstimate } from './output-length.js';
import { type WorkFeatures, workScale } from './remaining-work.js';

/** The estimate that has erred less on such stages. The upper quantile is the model's in any case, so that its calibration stays valid. */
export function contested(winner: LengthContestant, model: LengthEstimate, lookup: LengthEstimate): LengthEstimate {
  if (winner === 'model') return model;
  if (winner === 'average') {
    const q50 = middle(model.q50, model.mean);
    return { ...model, q30: Math.min(q50, model.q30), q50, q95: Math.max(q50, model.q95) };
  }
  const blend = (a: number, b: number) => (winner === 'lookup' ? b : middle(a, b));
  const q50 = blend(model.q50, lookup.q50);
  return {
    q30: Math.min(q50, blend(model.q30, lookup.q30)),
    q50,
    q95: Math.max(q50, model.q95),
    mean: model.mean,
    source: winner === 'lookup' ? lookup.source : 'blend',
  };
}

export function mediansOf(
  model: Pick<LengthEstimate, 'q50' | 'mean'>,
  lookup: Pick<LengthEstimate, 'q50'>,
): Said<LengthContestant> {
  return {
    model: model.q50,
    average: middle(model.q50, model.mean),
    lookup: lookup.q50,
    blend: middle(model.q50, lookup.q50),
  };
}

/** What is left from a stage on by model, medians and both; undefined where the model says nothing. */
export function workSaid(
  { medianMs = 0 }: WorkFeatures,
  modelledMs: number | undefined,
): Said<WorkContestant> | undefined {
  if (modelledMs === undefined) return undefined;
  return {
    model: workScale(modelledMs),
    lookup: workScale(medianMs),
    blend: workScale(middle(modelledMs, medianMs)),
  };
}

/** What a model says, longer or shorter by so many log tokens. The upper quantile is left to its calibration, and the mean to the node's. */
export function shifted(length: LengthEstimate, shift: number): LengthEstimate {
  if (shift === 0) return length;
  const q50 = shiftedTokens(length.q50, shift);
  return { ...length, q30: Math.min(q50, length.q30), q50, q95: Math.max(q50, length.q95) };
}

/** A length that is longer or shorter by so many log tokens. */
export function shiftedTokens(tokens: number, shift: number): number {
  return Math.max(0, Math.expm1(Math.log1p(tokens) + shift));
}

/** The middle of two lengths or times, by their logarithms. */
function middle(a: number, b: number): number {
  return Math.expm1((Math.log1p(a) + Math.log1p(b)) / 2);
}
