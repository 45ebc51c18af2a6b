import type { BinnedMatrix } from './bins.js';
import type { GbdtParams, ValidationSet } from './types.js';

/** Refuses what cannot be trained, by the name of the parameter. */
export function checkTraining(
  matrix: BinnedMatrix,
  target: Float64Array,
  params: GbdtParams,
  weights: Float64Array | undefined,
  validation: ValidationSet | undefined,
): void {
  checkParams(params);
  if (matrix.rows === 0) throw new RangeError('there are no rows to train on');
  checkTarget('target', target, matrix.rows, params);
  if (weights) checkWeights('weights', weights, matrix.rows);
  if (validation) {
    if (validation.data.columns.length !== matrix.columns.length) {
      throw new RangeError('the validation table has other columns than the training table');
    }
    checkTarget('validation target', validation.target, validation.data.rows, params);
    if (validation.weights) checkWeights('validation weights', validation.weights, validation.data.rows);
  } else if (params.earlyStoppingRounds !== undefined) {
    throw new RangeError('earlyStoppingRounds needs a validation table');
  }
}

function checkParams(params: GbdtParams): void {
  const mustBe = (name: keyof GbdtParams, holds: boolean, range: string) => {
    if (!holds) throw new RangeError(`${name} must be ${range}, not ${params[name]}`);
  };
  const isShare = (value: number) => value > 0 && value <= 1;
  mustBe('trees', Number.isInteger(params.trees) && params.trees >= 0, 'an integer ≥ 0');
  mustBe('leaves', Number.isInteger(params.leaves) && params.leaves >= 2, 'an integer ≥ 2');
  mustBe('learningRate', isShare(params.learningRate), 'in (0, 1]');
  mustBe('featureFraction', isShare(params.featureFraction), 'in (0, 1]');
  mustBe('baggingFraction', isShare(params.baggingFraction), 'in (0, 1]');
  mustBe('lambdaL2', params.lambdaL2 >= 0, '≥ 0');
  mustBe('minLeafRows', params.minLeafRows >= 0, '≥ 0');
}

function checkTarget(name: string, target: Float64Array, rows: number, { objective }: GbdtParams): void {
  if (target.length !== rows) throw new RangeError(`${name} has ${target.length} values for ${rows} rows`);
  const isGood = (value: number) =>
    objective === 'binary'
      ? value >= 0 && value <= 1
      : Number.isFinite(Math.fround(value)) && (objective !== 'poisson' || value >= 0);
  const bad = target.findIndex((value) => !isGood(value));
  if (bad < 0) return;
  const wanted = { binary: 'in [0, 1]', poisson: 'finite and ≥ 0' }[objective as string] ?? 'finite';
  throw new RangeError(`${name} of row ${bad} must be ${wanted}, not ${target[bad]}`);
}

function checkWeights(name: string, weights: Float64Array, rows: number): void {
  if (weights.length !== rows) throw new RangeError(`${name} has ${weights.length} values for ${rows} rows`);
  const bad = weights.findIndex((weight) => !(weight >= 0 && Number.isFinite(weight)));
  if (bad >= 0) throw new RangeError(`${name} of row ${bad} must be finite and ≥ 0, not ${weights[bad]}`);
}
