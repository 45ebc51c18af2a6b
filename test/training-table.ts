import { nextInt, SeededRng } from '../src/model/rng.js';
import type { FeatureMatrix } from '../src/predict/trees/types.js';

export interface TrainingTable {
  readonly data: FeatureMatrix;
  readonly target: Float64Array;
}

const COLUMNS = ['smooth', 'step', 'slope', 'code', 'skewed', 'sparse', 'noise a', 'noise b'];

/**
 * A made-up table with what real ones have: curves, steps, a code whose order means nothing, skew, missing values that tell something, noise that
 * differs from row to row. Equal seeds give equal tables, so that what LightGBM made of one can be written down.
 */
export function trainingTable(seed: number, rows: number): TrainingTable {
  const rng = new SeededRng(seed);
  const values = new Float64Array(rows * COLUMNS.length);
  const target = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const smooth = rng.next() * 6;
    const step = nextInt(rng, 20);
    const slope = rng.next() * 2 - 1;
    const code = nextInt(rng, 5);
    const skewed = Math.round(-Math.log(1 - rng.next()) * 200);
    const sparse = rng.next() < 0.4 ? Number.NaN : rng.next();
    const noise = Math.log(1 / (1 - rng.next())) * (code === 3 ? 1.2 : 0.5);
    const own = [smooth, step, slope, code, skewed, sparse, rng.next(), nextInt(rng, 3)];
    values.set(own.map(Math.fround), row * COLUMNS.length);
    const known = Number.isNaN(sparse) ? 0.8 : sparse * 0.4;
    target[row] =
      3 + Math.sin(2 * smooth) + (step > 12 ? slope : 0) + [0, 0.7, -0.4, 0.3, 0][code]! + known + skewed / 500 + noise;
  }
  return { data: { rows, columns: COLUMNS, values }, target: target.map(Math.fround) };
}
