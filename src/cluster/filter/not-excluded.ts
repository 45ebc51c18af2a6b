import type { EngineFilter } from './filter.js';

/** The engine has not refused or failed this stage before. */
export const NOT_EXCLUDED: EngineFilter = {
  name: 'excluded',
  passes: ({ excluded }, engine) => !excluded.has(engine.view.spec.engineId),
};
