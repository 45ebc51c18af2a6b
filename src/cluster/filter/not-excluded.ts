import { placeName } from '../engine-record.js';
import type { EngineFilter } from './filter.js';

/** The engine has not refused or failed this stage before, nor has the stage waited for this rank of it in vain. */
export const NOT_EXCLUDED: EngineFilter = {
  name: 'excluded',
  passes({ excluded }, { view, rank }) {
    if (excluded.size === 0) return true;
    const { engineId } = view.spec;
    return !excluded.has(engineId) && !excluded.has(placeName(engineId, rank));
  },
};
