import type { EngineFilter } from './filter.js';

/**
 * The prompt fits the engine's whole KV pool, and its context together with the limit on the answer that the request names, or with one token. An engine that fails this
 * never fits; replicas of a model may have contexts of different lengths.
 */
export const FITS_POOL: EngineFilter = {
  name: 'too-large',
  passes({ stage }, engine) {
    const { spec, kvPoolTokens } = engine.view;
    const answerTokens = stage.outputLimited ? stage.maxTokens : 1;
    return stage.promptTokens < kvPoolTokens && stage.promptTokens + answerTokens <= spec.maxModelLen;
  },
};
