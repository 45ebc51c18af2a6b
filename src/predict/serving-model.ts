import { BoundCalibration } from './calibration.js';
import {
  EstimateContest,
  LENGTH_CONTESTANTS,
  type LengthContestant,
  WORK_CONTESTANTS,
  type WorkContestant,
} from './contest.js';
import { RecentShift } from './recent-shift.js';
import { ModelEstimates, type StageModel } from './stage-model.js';

/** A trained model with all that is learned about it while it serves. */
export interface ServingModel {
  readonly estimates: ModelEstimates;
  readonly calibration: BoundCalibration;
  readonly contest: EstimateContest<LengthContestant>;
  /** Whether model or medians tell what is left of a workflow. */
  readonly remaining: EstimateContest<WorkContestant>;
  /** By how much the last calls came out longer than the model's median, in log tokens, and the last workflows than what had served, on the scale of `workScale`. */
  readonly lengthShift: RecentShift;
  readonly workShift: RecentShift;
}

/** Residuals that make a shift, of calls and of what was left at each. From 12 to 64 the recorded traces tell little difference. */
export const RECENT_CALLS = 16;
const RECENT_WORK = 32;

/** A model that has not served yet. */
export function servingModel(
  model: StageModel,
  { targetOverflow, maxCells }: { readonly targetOverflow: number; readonly maxCells: number },
): ServingModel {
  const { boundLogOffset } = model.rules;
  const lookups = new Set(model.rules.lookupTemplates);
  const remaining = new Set(model.rules.remainingTemplates);
  // Of few calls neither is known to be much better, and the middle of the two errs little more than the better one.
  const contest = new EstimateContest<LengthContestant>(maxCells, LENGTH_CONTESTANTS, (template) =>
    lookups.has(template) ? 'blend' : 'model',
  );
  contest.begin(model.rules.lengthErrors);
  return {
    estimates: new ModelEstimates(model, maxCells),
    calibration: new BoundCalibration({
      ...{ targetOverflow, maxRoles: maxCells, initialLogOffset: boundLogOffset, newRoleLogOffset: boundLogOffset },
    }),
    contest,
    remaining: new EstimateContest(maxCells, WORK_CONTESTANTS, (template) =>
      remaining.has(template) ? 'model' : 'lookup',
    ),
    lengthShift: new RecentShift(maxCells, RECENT_CALLS),
    workShift: new RecentShift(maxCells, RECENT_WORK),
  };
}
