import { nextInt, SeededRng } from '../../model/rng.js';
import type { Corrections } from '../trees/forest.js';
import type { TreeEnsemble } from '../trees/types.js';
import { correctionName, METADATA_KEY, type TreeModel } from './model.js';
import { ModelFormatError } from './protobuf.js';

/** What a model has to fit. */
export interface ModelRequirements {
  /** Names of the features in the order in which rows come. */
  readonly features: readonly string[];
  /** Hash of the feature schema; a file that carries another one is refused. */
  readonly schemaHash: string;
  /** The outputs that are needed, in the order in which they are answered. */
  readonly outputs: readonly string[];
  /** Outputs that are answered behind those where the model has them. */
  readonly optionalOutputs?: readonly string[] | undefined;
}

/** How far two evaluators may be apart, relative where numbers are above 1. ONNX Runtime adds leaves up in float32. */
const PARITY = 1e-5;

const PROBE_ROWS = 64;

/** The outputs that a model answers, in their order. */
export function answeredOutputs(model: TreeModel, { outputs, optionalOutputs = [] }: ModelRequirements): string[] {
  return [...outputs, ...optionalOutputs.filter((name) => model.outputs.some((output) => output.name === name))];
}

/** The outputs that correct those answered, by template. Their ensembles follow the others. */
export interface NamedCorrections {
  readonly names: readonly string[];
  readonly byTemplate: ReadonlyMap<string, Corrections>;
}

export function correctionsOf(model: TreeModel, requirements: ModelRequirements): NamedCorrections {
  const answered = answeredOutputs(model, requirements);
  const names: string[] = [];
  const byTemplate = new Map<string, Corrections>();
  for (const { name } of model.outputs) {
    answered.forEach((base, output) => {
      if (!name.startsWith(correctionName(base, ''))) return;
      const template = name.slice(base.length + 1);
      const own = byTemplate.get(template) ?? new Int32Array(answered.length).fill(-1);
      own[output] = answered.length + names.push(name) - 1;
      byTemplate.set(template, own);
    });
  }
  return { names, byTemplate };
}

/** The ensembles of {@link answeredOutputs}, then those of {@link correctionsOf}. Throws {@link ModelFormatError} when the model was made for other inputs or lacks an output. */
export function requiredEnsembles(model: TreeModel, requirements: ModelRequirements): TreeEnsemble[] {
  const { features, schemaHash } = requirements;
  const hash = model.metadata.get(METADATA_KEY.schemaHash);
  if (hash !== undefined && hash !== schemaHash) {
    throw new ModelFormatError(`it was made for feature schema ${hash}, not for ${schemaHash}: train it again`);
  }
  // Files made elsewhere may know nothing of the hash: the right names in the right order say as much.
  if (model.features.length === 0) {
    throw new ModelFormatError(`its metadata lacks ${METADATA_KEY.features}, so nothing says that its inputs match`);
  }
  if (model.features.length !== features.length) {
    throw new ModelFormatError(`it takes ${model.features.length} features, not ${features.length}`);
  }
  features.forEach((name, index) => {
    if (model.features[index] === name) return;
    throw new ModelFormatError(`feature ${index} of it is "${model.features[index]}", not "${name}"`);
  });
  const ensembleOf = (name: string): TreeEnsemble => {
    const output = model.outputs.find((candidate) => candidate.name === name);
    if (output) return output.ensemble;
    const others = model.outputs.map((other) => other.name).join(', ');
    throw new ModelFormatError(`it lacks the output "${name}"; it has ${others}`);
  };
  const corrections = correctionsOf(model, requirements).names.map((name) => {
    const ensemble = ensembleOf(name);
    if (ensemble.link === 'identity') return ensemble;
    throw new ModelFormatError(`"${name}" is put through a sigmoid; a correction is added to the score before it`);
  });
  return [...answeredOutputs(model, requirements).map(ensembleOf), ...corrections];
}

/** Rows that try a model out: nothing known, everything zero, everything huge, and values at and around its own thresholds. */
export function probeRows(ensembles: readonly TreeEnsemble[]): Float64Array[] {
  const rng = new SeededRng(1);
  const width = ensembles[0]?.featureCount ?? 0;
  const thresholds: number[][] = Array.from({ length: width }, () => [0]);
  for (const ensemble of ensembles) {
    ensemble.feature.forEach((feature, node) => {
      thresholds[feature]!.push(ensemble.threshold[node]!);
    });
  }
  const extremes = [Number.NaN, 0, 1e12].map((value) => new Float64Array(width).fill(value));
  const drawn = Array.from({ length: PROBE_ROWS - extremes.length }, () =>
    Float64Array.from(thresholds, (own) =>
      rng.next() < 0.1 ? Number.NaN : own[nextInt(rng, own.length)]! + nextInt(rng, 3) - 1,
    ),
  );
  return [...extremes, ...drawn];
}

/** Throws {@link ModelFormatError} where two evaluators differ by more than float32 explains. */
export function checkParity(
  outputs: readonly string[],
  own: readonly Float64Array[],
  runtime: readonly Float64Array[],
): void {
  own.forEach((row, index) => {
    row.forEach((value, output) => {
      const other = runtime[index]?.[output] ?? Number.NaN;
      if (Math.abs(value - other) <= PARITY * Math.max(1, Math.abs(value))) return;
      throw new ModelFormatError(`"${outputs[output]}" is ${other} in ONNX Runtime and ${value} in TypeScript`);
    });
  });
}

/** Are all numbers finite in float32, which is what ONNX Runtime answers in? */
export function allFinite(values: Float64Array): boolean {
  return values.every((value) => Number.isFinite(Math.fround(value)));
}
