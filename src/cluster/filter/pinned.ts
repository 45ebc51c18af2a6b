import type { EngineFilter } from './filter.js';

/** A stage that continues what only one engine has goes to that engine. */
export const PINNED: EngineFilter = {
  name: 'pinned',
  passes: ({ stage }, engine) => stage.onlyEngineId === undefined || engine.view.spec.engineId === stage.onlyEngineId,
};
