import type { EngineFilter } from './filter.js';

/** The engine serves the model that was asked for. */
export const MODEL_ALLOWED: EngineFilter = {
  name: 'model',
  passes: ({ stage }, engine) => engine.view.spec.model === stage.model,
};
