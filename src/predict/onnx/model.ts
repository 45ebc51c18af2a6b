import type { TreeEnsemble } from '../trees/types.js';

/** One number that a model predicts. */
export interface ModelOutput {
  readonly name: string;
  readonly ensemble: TreeEnsemble;
}

/** A predictor as it lies in one ONNX file: tree ensembles over the same features, and what has to be known of them. */
export interface TreeModel {
  /** Names of the features in the order of the input's columns; empty where a file made elsewhere does not name them. */
  readonly features: readonly string[];
  readonly featureCount: number;
  readonly outputs: readonly ModelOutput[];
  /** `metadata_props` of the file. Keys of the house start with `maestro.`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Keys of `metadata_props` that have a meaning here. Everything else is carried along. */
export const METADATA_KEY = {
  /** JSON array of the feature names. The writer fills it in. */
  features: 'maestro.features',
  /** Hash of the feature schema that the model was trained on; a model whose hash differs is refused. */
  schemaHash: 'maestro.schema_hash',
  /** Version of the model, as people call it. */
  version: 'maestro.version',
  /** JSON: how and on what it was trained, and what it reached. */
  training: 'maestro.training',
  /** JSON: static calibration of bounds and probabilities. */
  calibration: 'maestro.calibration',
} as const;

/**
 * Outputs of a predictor of stages: the chance that the answer calls a tool, quantiles of `log(1 + output tokens)`, and its mean for sums over many
 * calls (a sum of medians is too low).
 */
export const STAGE_OUTPUTS = [
  'tool_probability',
  'log_tokens_q30',
  'log_tokens_q50',
  'log_tokens_q95',
  'log_tokens_mean',
] as const;

/**
 * Outputs that a predictor may have besides: `log(1 + milliseconds)` of service that the workflow has left after the stage. Without it the medians of what
 * earlier workflows had left are taken.
 */
export const OPTIONAL_STAGE_OUTPUTS = ['log_remaining_ms'] as const;

/** Name of the output that corrects another one for calls of one template: it is added to it, to the score of a probability before its sigmoid. */
export function correctionName(output: string, template: string): string {
  return `${output}@${template}`;
}

/** Name of the graph's only input: float32, one row a call. */
export const INPUT_NAME = 'features';
