import type { EngineFilter } from './filter.js';

/** What is known of the engine is recent enough to act on. */
export const FRESH: EngineFilter = {
  name: 'fresh',
  passes: (_request, engine) => !engine.stale,
};
