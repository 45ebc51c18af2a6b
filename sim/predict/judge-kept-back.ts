import { type CallHistory, filterHistory, taughtTokens } from '../../src/predict/examples.js';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import { forestModel } from '../../src/predict/stage-model.js';
import { staticMedians } from '../../src/predict/training/medians.js';
import { keptBack } from '../../src/predict/training/split.js';
import { stateAfter } from '../../src/predict/training/state-after.js';
import { type TrainingOptions, trainModel } from '../../src/predict/training/train-model.js';
import { type JudgedHistory, judgeCalls } from './judge-calls.js';

/** Trains on one part of a history and judges on the other, `share` of it, that was kept back. */
export function judgeKeptBack(history: CallHistory, options: TrainingOptions, share: number): JudgedHistory {
  const isKept = keptBack(history, options.split, share, options.seed);
  const seen = filterHistory(history, (call) => !isKept(call));
  const trained = trainModel(seen, options);
  const predictor = new OnlinePredictor({ blockTokens: 1, model: forestModel(trained.model) });
  predictor.restore(stateAfter(seen, trained));
  return judgeCalls(filterHistory(history, isKept), predictor, staticMedians(seen));
}

/** Why {@link judgeKeptBack} would have nothing to learn from, or nothing to judge; undefined where it has both. */
export function tooFewToJudge(history: CallHistory, options: TrainingOptions, share: number): string | undefined {
  const isKept = keptBack(history, options.split, share, options.seed);
  const known = history.calls.filter(({ outcome }) => taughtTokens(outcome) !== undefined);
  if (known.length === 0) return 'no call has a known length';
  const kept = known.filter(isKept).length;
  if (kept > 0 && kept < known.length) return undefined;
  return `its ${known.length} calls with a known length are all ${kept > 0 ? 'kept back, none is left to learn from' : 'learned from, none is kept back'}: too few different ones (split by ${options.split})`;
}
