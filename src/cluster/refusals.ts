import type { PlaceResult } from '../model/fleet.js';
import type { EngineRecord } from './engine-record.js';
import { ENGINE_FILTERS } from './filter/registry.js';
import type { ModelIndex } from './model-index.js';
import type { PlaceRequest } from './place-request.js';

/** Why nothing here takes a stage. `too-large` does not change by waiting, the others may. */
export type BounceReason = 'unknown-model' | 'too-large' | 'no-engine' | 'no-room';

/** The first filter that refuses the engine; of one with ranks, all of which are refused, the last of them stands for it. */
export function refusalOf(request: PlaceRequest, engine: EngineRecord): string | undefined {
  if (engine.ranks.length > 0) {
    let refusal: string | undefined;
    for (const rank of engine.ranks) {
      refusal = refusalOf(request, rank);
      if (refusal === undefined) break;
    }
    return refusal;
  }
  for (const filter of ENGINE_FILTERS) if (!filter.passes(request, engine)) return filter.name;
  return undefined;
}

/** Nothing took the stage: asks every engine of the model once more, for an exact account of why. */
export function bounceAll(request: PlaceRequest, index: ModelIndex): PlaceResult {
  const refusals: Record<string, number> = {};
  for (const engine of index.engines()) {
    const refusal = refusalOf(request, engine) ?? 'unknown';
    refusals[refusal] = (refusals[refusal] ?? 0) + 1;
  }
  // Engines of the model that do not have the adapter are as good as none.
  const unusable =
    (refusals['model'] ?? 0) + (refusals['excluded'] ?? 0) + (refusals['healthy'] ?? 0) + (refusals['fresh'] ?? 0);
  if (unusable === index.size) return bounce('no-engine', refusals);
  const tooLarge = refusals['too-large'] ?? 0;
  return bounce(tooLarge + unusable === index.size ? 'too-large' : 'no-room', refusals);
}

export function bounce(reason: BounceReason, refusals: Record<string, number>): PlaceResult {
  return { kind: 'bounce', reason, explanation: { candidates: [], refusals } };
}
