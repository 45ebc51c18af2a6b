import type { CalibrationState } from './calibration.js';
import type { ContestState } from './contest.js';
import type { KeyedWindowsState } from './keyed-windows.js';
import type { LengthTrustState } from './length-trust.js';
import type { OutputLengthsState } from './output-length.js';
import type { RecentShiftState } from './recent-shift.js';
import type { RoleTransitionsState } from './role-transitions.js';
import type { RunningStatisticsState } from './running-statistics.js';
import type { ToolIntentState } from './tool-intent.js';

/** Everything that a predictor has learned online; what it saves to go on after a restart. */
export interface PredictorState {
  readonly lengths: OutputLengthsState;
  readonly tools: ToolIntentState;
  readonly remaining: KeyedWindowsState;
  readonly calibration: CalibrationState;
  readonly transitions: RoleTransitionsState;
  readonly lengthTrust?: LengthTrustState | undefined;
  /** Of the trained model: the statistics that it takes as features, the calibration of its bounds, its errors beside those of the lookup. */
  readonly model?:
    | {
        readonly statistics: RunningStatisticsState;
        readonly calibration?: CalibrationState | undefined;
        readonly contest?: ContestState | undefined;
        readonly remaining?: ContestState | undefined;
        readonly lengthShift?: RecentShiftState | undefined;
        readonly workShift?: RecentShiftState | undefined;
      }
    | undefined;
}
