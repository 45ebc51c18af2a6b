import type { Demand, OrderPlace, PlaceResult } from '../model/fleet.js';
import { type Prediction, type Stage, sessionOf } from '../model/stage.js';

/** Who asks. */
export interface DemandingCluster {
  /** Names of the interactive classes. */
  readonly interactiveClasses: ReadonlySet<string>;
  readonly epoch: number;
}

/** What a stage asks of the node of the engine that it has been placed on; the live cluster and the simulated one ask alike. */
export function demandOf(
  stage: Stage,
  { kvTokens }: Prediction,
  { orderKey, keyChange }: OrderPlace,
  place: Pick<Exclude<PlaceResult, { kind: 'bounce' }>, 'engineId' | 'rank' | 'kvTokens'>,
  { interactiveClasses, epoch }: DemandingCluster,
): Demand {
  const { stageId, sloClass, promptTokens, choices } = stage;
  return {
    stageId,
    session: sessionOf(stage),
    engineId: place.engineId,
    rank: place.rank,
    sloClass,
    interactive: interactiveClasses.has(sloClass),
    promptTokens,
    sequences: choices,
    kvTokens: place.kvTokens,
    forecast: kvTokens.forecast,
    share: kvTokens.share,
    maxKvTokens: mostKvTokens(stage, kvTokens),
    orderKey,
    keyChange,
    restartable: !stage.features.stream,
    epoch,
  };
}

/** KV tokens that the stage takes of the pool where its answers are as long as it allows. */
function mostKvTokens({ promptTokens, maxTokens, choices = 1 }: Stage, { share }: Prediction['kvTokens']): number {
  if (!share) return promptTokens + choices * maxTokens;
  return Math.ceil(share.promptTokens + choices * maxTokens * share.perOutputToken);
}
