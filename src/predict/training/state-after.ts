import type { CallHistory } from '../examples.js';
import { OnlinePredictor } from '../predictor.js';
import type { PredictorState } from '../predictor-state.js';
import { forestModel } from '../stage-model.js';
import type { TrainedModel } from './train-model.js';

/**
 * What a predictor has learned online after the calls of the training. Its bounds start from the calibration in the model, model and lookup compete anew, and how far lengths may be believed has to be seen:
 * on calls that it was trained on it is too sure of itself.
 */
export function stateAfter(history: CallHistory, trained: TrainedModel): PredictorState {
  const predictor = new OnlinePredictor({ model: forestModel(trained.model) });
  for (const event of history.events) {
    if (event.kind === 'workflowEnded') predictor.workflowEnded(event.workflowId);
    else {
      const { stage, context, outcome } = history.calls[event.call]!;
      if (event.kind === 'begin') predictor.predict(stage, context);
      else predictor.observe(stage, context, outcome);
    }
  }
  const { lengthTrust: _, ...state } = predictor.state();
  return { ...state, ...(state.model ? { model: { statistics: state.model.statistics } } : {}) };
}
