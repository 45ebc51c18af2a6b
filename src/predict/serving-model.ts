import { BoundCalibration } from './calibration.js';
import { EstimateContest } from './contest.js';
import { ModelEstimates, type StageModel } from './stage-model.js';

/** A trained model with all that is learned about it while it serves. */
export interface ServingModel {
  readonly estimates: ModelEstimates;
  readonly calibration: BoundCalibration;
  readonly contest: EstimateContest;
}

/** A model that has not served yet. */
export function servingModel(
  model: StageModel,
  { targetOverflow, maxCells }: { readonly targetOverflow: number; readonly maxCells: number },
): ServingModel {
  const { boundLogOffset, lookupTemplates } = model.rules;
  return {
    estimates: new ModelEstimates(model, maxCells),
    calibration: new BoundCalibration({
      ...{ targetOverflow, maxRoles: maxCells, initialLogOffset: boundLogOffset, newRoleLogOffset: boundLogOffset },
    }),
    contest: new EstimateContest(maxCells, new Set(lookupTemplates)),
  };
}
