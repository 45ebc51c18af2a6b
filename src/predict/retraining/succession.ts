import type { Stage, StageContext, StageOutcome } from '../../model/stage.js';
import type { OnlineFeatures } from '../features.js';
import type { LengthEstimate } from '../output-length.js';
import type { ServingModel } from '../serving-model.js';
import { ModelTrial } from './trial.js';

/**
 * - `promoted`: the challenger serves from now on; the one before is asked on, in the shadow.
 * - `dismissed`: the challenger was not clearly better.
 * - `confirmed`: the one before was not better than the promoted one.
 * - `rolled_back`: it was, and serves again.
 */
export type SuccessionEvent = 'promoted' | 'dismissed' | 'confirmed' | 'rolled_back';

interface Running {
  readonly trial: ModelTrial;
  readonly challenger: ServingModel;
  /** Whether the challenger is the model that served before. */
  readonly isProbation: boolean;
  readonly onEvent: (event: SuccessionEvent) => void;
}

/** Which model serves: the first one until another proves better on the calls of the fleet, and the old one again where that was a mistake. */
export class ModelSuccession {
  private running: Running | undefined;

  constructor(private current: ServingModel | undefined) {}

  get serving(): ServingModel | undefined {
    return this.current;
  }

  /** Does a model compete now, or one that was promoted have to prove itself? */
  get isOnTrial(): boolean {
    return this.running !== undefined;
  }

  /** Lets a model compete, in the shadow. A trial that is under way is given up for it. */
  challenge(challenger: ServingModel, onEvent: (event: SuccessionEvent) => void): void {
    if (this.current) challenger.estimates.restore(this.current.estimates.state());
    this.running = { trial: new ModelTrial(challenger.estimates), challenger, isProbation: false, onEvent };
  }

  /** @param said What is said of the call without the challenger. */
  predict(stage: Stage, context: StageContext, online: OnlineFeatures, said: LengthEstimate): void {
    this.running?.trial.predict(stage, context, online, said);
  }

  /** Answers whether another model serves from now on. */
  observe(stage: Stage, context: StageContext, outcome: StageOutcome): boolean {
    const running = this.running;
    const winner = running?.trial.observe(stage, context, outcome);
    if (!running || !winner) return false;
    const { challenger, isProbation, onEvent } = running;
    this.running = undefined;
    if (winner === 'champion') {
      onEvent(isProbation ? 'confirmed' : 'dismissed');
      return false;
    }
    const before = this.current;
    this.current = challenger;
    if (before && !isProbation) {
      this.running = { trial: new ModelTrial(before.estimates), challenger: before, isProbation: true, onEvent };
    }
    onEvent(isProbation ? 'rolled_back' : 'promoted');
    return true;
  }
}
