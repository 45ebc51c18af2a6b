import type { EngineFilter } from './filter.js';

/** The prompt and at least one token of answer fit the engine's context and its whole KV pool. An engine that fails this never fits. */
export const FITS_POOL: EngineFilter = {
  name: 'too-large',
  passes({ stage }, engine) {
    const { spec, kvPoolTokens } = engine.view;
    return stage.promptTokens < kvPoolTokens && stage.promptTokens < spec.maxModelLen;
  },
};
