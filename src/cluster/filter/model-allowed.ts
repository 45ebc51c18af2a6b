import type { EngineFilter } from './filter.js';

/** The engine serves the model that was asked for, and has the adapter. */
export const MODEL_ALLOWED: EngineFilter = {
  name: 'model',
  passes({ stage }, engine) {
    const { model, adapters } = engine.view.spec;
    return model === stage.model && (stage.adapter === undefined || adapters?.includes(stage.adapter) === true);
  },
};
