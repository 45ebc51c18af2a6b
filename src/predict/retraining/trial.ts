import { LruMap } from '../../model/lru-map.js';
import type { Stage, StageContext, StageOutcome } from '../../model/stage.js';
import { taughtTokens } from '../examples.js';
import type { OnlineFeatures } from '../features.js';
import type { LengthEstimate } from '../output-length.js';
import type { ModelEstimates } from '../stage-model.js';

export type TrialWinner = 'challenger' | 'champion';

/** Calls that both have predicted, after which the trial is decided. */
export const TRIAL_CALLS = 500;
/** The challenger must err by so much less, so that chance does not change models. */
const CLEAR_LEAD = 0.98;
/** Its upper quantile, which memory is promised by, may be worse by no more than this. */
const TAIL_TOLERANCE = 1.05;
/** More calls are under way in no fleet. */
const MAX_OPEN = 100_000;

interface Said {
  readonly champion: LengthEstimate;
  readonly challenger: LengthEstimate;
}

/** Two models on the same calls: the champion serves, the challenger is only asked. After {@link TRIAL_CALLS} calls it is known which errs less. */
export class ModelTrial {
  private readonly open = new LruMap<string, Said>(MAX_OPEN);
  private calls = 0;
  private readonly median: Record<TrialWinner, number> = { champion: 0, challenger: 0 };
  private readonly tail: Record<TrialWinner, number> = { champion: 0, challenger: 0 };

  constructor(private readonly challenger: ModelEstimates) {}

  /** @param champion What the champion says of the call; what was learned online where there is no champion, or it has no answer. */
  predict(stage: Stage, context: StageContext, online: OnlineFeatures, champion: LengthEstimate): void {
    const challenger = this.challenger.estimate(stage, context, online)?.length;
    if (challenger) this.open.set(stage.stageId, { champion, challenger });
  }

  /** The winner, once there is one; ask no more then. */
  observe(stage: Stage, context: StageContext, outcome: StageOutcome): TrialWinner | undefined {
    const said = this.open.peek(stage.stageId);
    this.open.delete(stage.stageId);
    this.challenger.observe(stage, context, outcome);
    const tokens = taughtTokens(outcome);
    if (!said || tokens === undefined) return undefined;
    for (const who of ['champion', 'challenger'] as const) {
      this.median[who] += Math.abs(said[who].q50 - tokens);
      this.tail[who] += tailLoss(said[who].q95, tokens);
    }
    this.calls += 1;
    if (this.calls < TRIAL_CALLS) return undefined;
    const isBetter = this.median.challenger < CLEAR_LEAD * this.median.champion;
    const isSafe = this.tail.challenger <= TAIL_TOLERANCE * this.tail.champion;
    return isBetter && isSafe ? 'challenger' : 'champion';
  }
}

/** Pinball loss of the 0.95 quantile. */
function tailLoss(q95: number, tokens: number): number {
  return tokens > q95 ? 0.95 * (tokens - q95) : 0.05 * (q95 - tokens);
}
