import type { Stage, StageContext, StageOutcome } from '../model/stage.js';
import { choosesTool, taughtToolCall } from './examples.js';
import { FEATURE_NAMES, FEATURE_SCHEMA_HASH, fillFeatures, type OnlineFeatures } from './features.js';
import { answeredOutputs, correctionsOf, requiredEnsembles } from './onnx/check-model.js';
import { OPTIONAL_STAGE_OUTPUTS, STAGE_OUTPUTS, type TreeModel } from './onnx/model.js';
import type { LengthEstimate } from './output-length.js';
import { RunningStatistics, type RunningStatisticsState } from './running-statistics.js';
import { type ServingRules, servingRules, withRepeats } from './serving-rules.js';
import { Forest } from './trees/forest.js';

/** What every model of stages has to fit. */
export const STAGE_MODEL_REQUIREMENTS = {
  features: FEATURE_NAMES,
  schemaHash: FEATURE_SCHEMA_HASH,
  outputs: STAGE_OUTPUTS,
  optionalOutputs: OPTIONAL_STAGE_OUTPUTS,
} as const;

/** A trained model, whoever evaluates it. */
export interface StageModel {
  readonly rules: ServingRules;
  /**
   * The numbers of {@link STAGE_OUTPUTS}, and of the optional ones that the model has, for a row of features of a call of this template, all or those from `first` on;
   * undefined where the model is out of service. The list is used again by the next call.
   */
  evaluate(row: Float64Array, first: number, template: string): Float64Array | undefined;
}

/**
 * A model file's trees, evaluated in TypeScript: what the simulator and the commands use.
 *
 * @throws ModelFormatError for a model that was made for other features, or lacks an output.
 */
export function forestModel(model: TreeModel): StageModel {
  const forest = new Forest(requiredEnsembles(model, STAGE_MODEL_REQUIREMENTS));
  const outputs = answeredOutputs(model, STAGE_MODEL_REQUIREMENTS).length;
  const { byTemplate } = correctionsOf(model, STAGE_MODEL_REQUIREMENTS);
  const predicted = new Float64Array(outputs);
  return {
    rules: servingRules(model.metadata),
    evaluate(row, first, template) {
      forest.predict(row, 0, predicted, first, outputs, byTemplate.get(template));
      return predicted;
    },
  };
}

export interface ModelEstimate {
  readonly length: LengthEstimate;
  /** Undefined where the model has not learned tool calls, and where the request leaves it no choice. */
  readonly toolProbability: number | undefined;
  /** Service milliseconds that the workflow has left, the stage included. Undefined where the model has not learned them. */
  readonly toEndMs: number | undefined;
}

/** Places of the chance of a tool call among the outputs, and of the first of the lengths. */
const TOOL_OUTPUT = STAGE_OUTPUTS.indexOf('tool_probability');
const LENGTH_OUTPUTS = STAGE_OUTPUTS.indexOf('log_tokens_q30');

/** No answer is longer; a model that says so is wrong, and infinity would spoil sums. */
const MAX_LOG_TOKENS = Math.log(1e7);
/** Three years. */
const MAX_LOG_MS = Math.log(1e11);

/** A model with the running statistics that are part of its input. */
export class ModelEstimates {
  private readonly statistics: RunningStatistics;
  private readonly row = new Float64Array(FEATURE_NAMES.length);

  constructor(
    private readonly model: StageModel,
    maxCells: number,
  ) {
    this.statistics = new RunningStatistics(maxCells);
  }

  /** Undefined where the model is out of service. */
  estimate(stage: Stage, context: StageContext, online: OnlineFeatures): ModelEstimate | undefined {
    fillFeatures(stage, context, this.statistics.features(stage, context), online, this.row);
    // A fifth of the trees tell whether a tool is called, which is no question where none can be.
    const asksForTool = this.model.rules.toolIntent && choosesTool(stage);
    const predicted = this.model.evaluate(this.row, asksForTool ? TOOL_OUTPUT : LENGTH_OUTPUTS, stage.template);
    if (!predicted) return undefined;
    const toolProbability = predicted[0]!;
    const low = predicted[1]!;
    const middle = predicted[2]!;
    const high = predicted[3]!;
    const mean = predicted[4]!;
    const logRemaining = predicted[STAGE_OUTPUTS.length];
    // Trees of different quantiles may cross.
    const last = context.past?.ofAgent?.lastTokens;
    const q50 = tokensOf(withRepeats(middle, last, this.model.rules.repeatLogTolerance));
    return {
      length: {
        q30: Math.min(q50, tokensOf(low)),
        q50,
        q95: Math.max(q50, tokensOf(high)),
        mean: tokensOf(mean),
        source: 'model',
      },
      toolProbability: asksForTool ? toolProbability : undefined,
      toEndMs: logRemaining === undefined ? undefined : Math.expm1(Math.min(MAX_LOG_MS, Math.max(0, logRemaining))),
    };
  }

  observe(stage: Stage, context: StageContext, outcome: StageOutcome): void {
    this.statistics.observe(stage, context, outcome.outputTokens, taughtToolCall(stage, outcome));
  }

  state(): RunningStatisticsState {
    return this.statistics.state();
  }

  restore(state: RunningStatisticsState): void {
    this.statistics.restore(state);
  }
}

function tokensOf(logTokens: number): number {
  return Math.expm1(Math.min(MAX_LOG_TOKENS, Math.max(0, logTokens)));
}
