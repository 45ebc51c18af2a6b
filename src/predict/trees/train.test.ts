import { describe, expect, it } from 'vitest';
import { trainingTable } from '../../../test/training-table.js';
import { binFeatures } from './bins.js';
import { predictBatch, predictRow } from './evaluate.js';
import { trainGbdt, trainOnBins } from './train.js';
import { DEFAULT_GBDT_PARAMS, type FeatureMatrix, type GbdtParams } from './types.js';

const MISSING = Number.NaN;
const { data, target } = trainingTable(1, 1500);

function params(own: Partial<GbdtParams> = {}): GbdtParams {
  return { ...DEFAULT_GBDT_PARAMS, trees: 20, ...own };
}

function tableOf(rows: readonly (readonly number[])[]): FeatureMatrix {
  const columns = rows[0]!.map((_, index) => `c${index}`);
  return { rows: rows.length, columns, values: Float64Array.from(rows.flat()) };
}

function meanLoss(predicted: Float64Array, wanted: Float64Array): number {
  return predicted.reduce((sum, value, row) => sum + Math.abs(value - wanted[row]!), 0) / predicted.length;
}

/** 60 rows with x = 0, 40 with x missing, 60 with x = 10, and a target for each. */
function threeKinds(targets: readonly [number, number, number]): { table: FeatureMatrix; wanted: Float64Array } {
  const rows = [...Array(60).fill([0]), ...Array(40).fill([MISSING]), ...Array(60).fill([10])];
  const wanted = Float64Array.from(rows, (_, row) => targets[row < 60 ? 0 : row < 100 ? 1 : 2]!);
  return { table: tableOf(rows), wanted };
}

describe('trainGbdt', () => {
  it('is the same for the same seed, and another for another', () => {
    const drawn = { baggingFraction: 0.7, featureFraction: 0.6 };
    const [first, second, other] = [5, 5, 6].map((seed) => trainGbdt(data, target, params({ ...drawn, seed })));
    expect(second).toEqual(first);
    expect(other!.ensemble.leafValues).not.toEqual(first!.ensemble.leafValues);
  });

  it.each<[string, readonly [number, number, number]]>([
    ['with the small values', [1, 1, 9]],
    ['with the large values', [1, 9, 9]],
    ['on a side of their own', [5, 1, 5]],
  ])('learns where missing values belong: %s', (_, targets) => {
    const { table, wanted } = threeKinds(targets);
    const { ensemble } = trainGbdt(table, wanted, params({ trees: 80 }));
    for (const [index, value] of [0, MISSING, 10].entries()) {
      expect(predictRow(ensemble, Float64Array.of(value), 0)).toBeCloseTo(targets[index]!, 2);
    }
  });

  it('sends values that were never missing in training to the larger side', () => {
    const rows = Array.from({ length: 100 }, (_, row) => [row < 70 ? 0 : 10]);
    const wanted = Float64Array.from(rows, ([value]) => value!);
    const { ensemble } = trainGbdt(tableOf(rows), wanted, params({ trees: 80 }));
    expect(predictRow(ensemble, Float64Array.of(MISSING), 0)).toBeCloseTo(0, 1);
  });

  it('goes on from the scores of other trees, in training and in what is kept back', () => {
    const bins = binFeatures(data, DEFAULT_GBDT_PARAMS.maxBins);
    const first = trainOnBins(bins, target, params({ objective: 'l1', trees: 10 })).ensemble;
    const startScores = predictBatch(first, data.values, data.rows);
    const validation = { data, target, startScores };
    const more = trainOnBins(bins, target, params({ objective: 'l1' }), undefined, validation, startScores);
    const added = predictBatch(more.ensemble, data.values, data.rows);
    const both = added.map((value, row) => value + startScores[row]!);
    expect(more.ensemble.baseScore).toBe(0);
    expect(meanLoss(both, target)).toBeLessThan(0.95 * meanLoss(startScores, target));
    expect(more.validationLoss.at(-1)).toBeCloseTo(meanLoss(both, target), 6);
  });

  it.each([0.1, 0.5, 0.9])('puts a share of %f of the rows below that quantile', (alpha) => {
    const { ensemble } = trainGbdt(data, target, params({ objective: 'quantile', alpha }));
    const predicted = predictBatch(ensemble, data.values, data.rows);
    const below = target.filter((value, row) => value <= predicted[row]!).length / data.rows;
    expect(below).toBeGreaterThan(alpha - 0.04);
    expect(below).toBeLessThan(alpha + 0.04);
  });

  it('gives probabilities whose mean is the share of ones', () => {
    const isLarge = target.map((value) => (value > 5 ? 1 : 0));
    const { ensemble } = trainGbdt(data, isLarge, params({ objective: 'binary' }));
    const predicted = predictBatch(ensemble, data.values, data.rows);
    const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(predicted)).toBeCloseTo(mean(isLarge), 2);
    expect(predicted.every((value) => value > 0 && value < 1)).toBe(true);
  });

  it.each<[GbdtParams['objective'], number]>([
    ['l2', 3],
    ['l1', 3],
    ['quantile', 3],
    ['binary', 1],
  ])('makes a constant of a constant target: %s', (objective, value) => {
    const constant = new Float64Array(data.rows).fill(value);
    const { ensemble } = trainGbdt(data, constant, params({ objective, alpha: 0.5 }));
    expect(predictRow(ensemble, data.values, 0)).toBeCloseTo(value, 4);
  });

  it.each<GbdtParams['objective']>(['l2', 'l1', 'quantile', 'binary'])(
    'counts a row of weight 2 like two: %s',
    (objective) => {
      // Codes have the same bins however many rows there are. An odd sum of weights makes every quantile fall on a row.
      const rows = Array.from({ length: 301 }, (_, row) => [row % 7, Math.floor(row / 43)]);
      const wanted = Float64Array.from(rows, ([a, b], row) => {
        return objective === 'binary' ? (a! * b! + row) % 2 : ((a! * b!) % 5) + row / 1000;
      });
      const isHeavy = (row: number) => wanted[row]! > 0.9;
      const weights = Float64Array.from(wanted, (_, row) => (isHeavy(row) ? 2 : 1));
      const table = { ...tableOf(rows), categorical: [true, true] };
      const tableTwice = { ...tableOf([...rows, ...rows.filter((_, row) => isHeavy(row))]), categorical: [true, true] };
      const wantedTwice = Float64Array.of(...wanted, ...wanted.filter((_, row) => isHeavy(row)));
      const few = params({ objective, alpha: 0.37, trees: 1, leaves: 5, minLeafRows: 1 });
      const [weighted, doubled, plain] = [
        trainGbdt(table, wanted, few, weights),
        trainGbdt(tableTwice, wantedTwice, few),
        trainGbdt(table, wanted, few),
      ].map(({ ensemble }) => predictBatch(ensemble, table.values, table.rows));
      // Quantiles without weights lie between two rows, with weights on one.
      expect(meanLoss(weighted!, doubled!)).toBeLessThan(2e-3);
      expect(meanLoss(weighted!, plain!)).toBeGreaterThan(2e-3);
    },
  );

  it('stops when the validation loss has stopped to fall, and keeps the best rounds', () => {
    const kept = trainingTable(2, 500);
    const validation = { data: kept.data, target: kept.target };
    const many = params({ trees: 2000, leaves: 31, learningRate: 0.3, earlyStoppingRounds: 10 });
    const { bestTrees, validationLoss, ensemble } = trainGbdt(data, target, many, undefined, validation);
    expect(validationLoss).toHaveLength(bestTrees + 10);
    expect(validationLoss[bestTrees - 1]).toBe(Math.min(...validationLoss));
    expect(ensemble.roots).toHaveLength(bestTrees);
    const predicted = predictBatch(ensemble, kept.data.values, kept.data.rows);
    const squares = predicted.map((value, row) => (value - kept.target[row]!) ** 2);
    const loss = squares.reduce((sum, value) => sum + value, 0) / squares.length;
    expect(loss).toBeCloseTo(validationLoss[bestTrees - 1]!, 9);
  });

  it('goes on when the columns drawn for a round are of no use', () => {
    const rows = Array.from({ length: 200 }, (_, row) => [
      row % 2,
      7 + (row % 10 === 0 ? 1 : 0),
      row % 5 === 0 ? 1 : 0,
    ]);
    const wanted = Float64Array.from(rows, ([value]) => value!);
    const few = params({ trees: 60, featureFraction: 0.34, minLeafRows: 50 });
    const { ensemble, bestTrees } = trainGbdt(tableOf(rows), wanted, few);
    expect(bestTrees).toBeGreaterThan(5);
    expect(bestTrees).toBeLessThan(60);
    expect(predictRow(ensemble, Float64Array.of(1, 7, 0), 0)).toBeGreaterThan(0.8);
  });

  it('keeps to the leaves and rows allowed', () => {
    const minLeafRows = 150;
    const { ensemble } = trainGbdt(data, target, params({ trees: 1, leaves: 6, minLeafRows }));
    expect(ensemble.leafValues.length).toBeLessThanOrEqual(6);
    const rowsOf = new Map<number, number>();
    for (const value of predictBatch(ensemble, data.values, data.rows)) rowsOf.set(value, (rowsOf.get(value) ?? 0) + 1);
    expect(Math.min(...rowsOf.values())).toBeGreaterThanOrEqual(minLeafRows);
  });

  it('tells which columns are of use', () => {
    const { importance } = trainGbdt(data, target, params());
    const useful = importance.slice(0, 4).map((entry) => entry.column);
    expect(useful).toContain('smooth');
    expect(useful).not.toContain('noise a');
    expect(importance.every((entry) => entry.gain > 0 && entry.splits > 0)).toBe(true);
  });

  it.each<[RegExp, Partial<GbdtParams>]>([
    [/alpha in \(0, 1\)/, { objective: 'quantile' }],
    [/alpha in \(0, 1\)/, { objective: 'quantile', alpha: 1 }],
    [/leaves must be/, { leaves: 1 }],
    [/learningRate must be/, { learningRate: 0 }],
    [/maxBins must be/, { maxBins: 1000 }],
    [/baggingFraction must be/, { baggingFraction: 1.5 }],
    [/target of row 0 must be in \[0, 1\]/, { objective: 'binary' }],
    [/needs a validation table/, { earlyStoppingRounds: 3 }],
  ])('refuses %s', (message, own) => {
    expect(() => trainGbdt(data, target, params(own))).toThrow(message);
  });

  it('refuses targets and weights that do not fit', () => {
    const bad = target.slice();
    bad[7] = MISSING;
    expect(() => trainGbdt(data, bad, params())).toThrow('target of row 7 must be finite, not NaN');
    expect(() => trainGbdt(data, target.subarray(1), params())).toThrow(/1499 values for 1500 rows/);
    expect(() => trainGbdt(data, target, params(), new Float64Array(data.rows).fill(-1))).toThrow(/weights of row 0/);
  });

  it('meets the mean of every kind with the poisson objective, as its logarithm', () => {
    const { table } = threeKinds([0, 0, 0]);
    const wanted = Float64Array.from({ length: 160 }, (_, row) => (row < 60 ? (row % 2) * 20 : row < 100 ? 50 : 1000));
    const settings = params({ objective: 'poisson', trees: 200, leaves: 3 });
    const { ensemble } = trainGbdt(table, wanted, settings);
    const means = [0, 60, 100].map((row) => Math.exp(predictRow(ensemble, table.values, row)));
    expect(means[0]).toBeCloseTo(10, 0);
    expect(means[1]).toBeCloseTo(50, 0);
    expect(means[2]! / 1000).toBeCloseTo(1, 2);
    expect(() => trainGbdt(table, wanted.fill(-1), settings)).toThrow('finite and ≥ 0');
  });
});
