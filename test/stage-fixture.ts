import type { Prediction, Stage, StageContext, StageFeatures, StageOutcome } from '../src/model/stage.js';

/** A stage for tests: everything has a plain default. */
export function makeStage(
  overrides: Partial<Omit<Stage, 'features'>> & { features?: Partial<StageFeatures> } = {},
): Stage {
  const { features, ...fields } = overrides;
  return {
    stageId: 'stage-1',
    workflowId: 'workflow-1',
    tenant: 'default',
    template: 'default',
    role: 'default',
    model: 'model-a',
    sloClass: 'interactive',
    arrivalMs: 0,
    deadlineMs: 60_000,
    weight: 1,
    promptTokens: 1000,
    promptTokensExact: true,
    maxTokens: 4096,
    bodyBytes: 4000,
    prefixHashes: [],
    ...fields,
    features: {
      toolsOffered: 0,
      toolChoice: 'auto',
      responseFormat: 'text',
      lastMessageKind: 'user',
      messageCount: 2,
      temperature: undefined,
      reasoning: false,
      stream: true,
      ...features,
    },
  };
}

export const FIRST_CONTEXT: StageContext = {
  stageIndex: 0,
  invocationIndex: 0,
  liveStages: 0,
  lastRoleOutputTokens: undefined,
  lastOutputTokens: undefined,
  gapMs: undefined,
};

export function makePrediction(overrides: Partial<Prediction> = {}): Prediction {
  return {
    toolProbability: 0,
    outputTokens: { q30: 100, q50: 200, q95: 800, mean: 300 },
    kvTokens: { q50: 1200, bound: 2000 },
    serviceMs: 3000,
    remainingMs: 0,
    source: 'test',
    ...overrides,
  };
}

export function completed(outputTokens: number, overrides: Partial<StageOutcome> = {}): StageOutcome {
  return { kind: 'completed', httpStatus: 200, outputTokens, durationMs: 3000, serviceMs: 2500, ...overrides };
}
