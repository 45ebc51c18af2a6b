import { type CallHistory, joinHistories } from '../../src/predict/examples.js';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import { forestModel } from '../../src/predict/stage-model.js';
import { staticMedians } from '../../src/predict/training/medians.js';
import { type TrainingOptions, trainModel } from '../../src/predict/training/train-model.js';
import { type JudgedHistory, judgeCalls } from './judge-calls.js';

/** A family of workflows that nobody was trained on: judged by a model of others, and by what is learned online alone. */
export interface UnseenFamily {
  readonly byModel: JudgedHistory;
  readonly online: JudgedHistory;
}

/** Trains on some families and judges on another, from its first call on: statistics and calibration begin empty, and fill as its calls end. */
export function judgeUnseen(seen: readonly CallHistory[], unseen: CallHistory, options: TrainingOptions): UnseenFamily {
  const training = joinHistories(seen);
  const medians = staticMedians(training);
  const model = forestModel(trainModel(training, options).model);
  return {
    byModel: judgeCalls(unseen, new OnlinePredictor({ blockTokens: 1, model }), medians),
    online: judgeCalls(unseen, new OnlinePredictor({ blockTokens: 1 }), medians),
  };
}
