import type { FeatureMatrix } from './types.js';

/** LightGBM's `min_data_in_bin`: rarer values share a bin with their neighbour. */
const MIN_ROWS_IN_BIN = 3;

/** One column of a table, with every value replaced by the number of its bin. */
export interface BinnedColumn {
  /** Upper limits of the bins of present values but the last, ascending and exact in float32: bin `b` holds values ≤ `limits[b]`. */
  readonly limits: Float64Array;
  /** Bins in all. When `missingBin` is set it is the last of them. */
  readonly bins: number;
  readonly missingBin: number | undefined;
  readonly codes: Uint8Array;
}

/** A table made ready for training. One can serve many trainings: the quantiles of a model share their table. */
export interface BinnedMatrix {
  readonly rows: number;
  readonly columns: readonly string[];
  readonly binned: readonly BinnedColumn[];
}

/** Replaces values by bins of about equal counts, as LightGBM does. */
export function binFeatures(data: FeatureMatrix, maxBins: number): BinnedMatrix {
  if (!(Number.isInteger(maxBins) && maxBins >= 2 && maxBins <= 255)) {
    throw new RangeError(`maxBins must be an integer in [2, 255], not ${maxBins}`);
  }
  const binned = data.columns.map((_, column) => {
    const values = columnValues(data, column);
    return binColumn(values, maxBins, data.categorical?.[column] === true ? 1 : MIN_ROWS_IN_BIN);
  });
  return { rows: data.rows, columns: data.columns, binned };
}

/** Do the rows of the table differ in this column? */
export function canSplit(column: BinnedColumn): boolean {
  const present = column.limits.length + 1;
  return present > 1 || (column.missingBin !== undefined && column.codes.some((code) => code !== column.missingBin));
}

/** The bin of a value that was not in the table. */
export function binOf(column: BinnedColumn, value: number): number {
  if (Number.isNaN(value)) return column.missingBin ?? 0;
  let low = 0;
  let high = column.limits.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value <= column.limits[middle]!) high = middle;
    else low = middle + 1;
  }
  return low;
}

function columnValues(data: FeatureMatrix, column: number): Float32Array {
  const width = data.columns.length;
  const values = new Float32Array(data.rows);
  for (let row = 0; row < data.rows; row++) values[row] = data.values[row * width + column]!;
  return values;
}

function binColumn(values: Float32Array, maxBins: number, minRowsInBin: number): BinnedColumn {
  // NaN sorts last.
  const sorted = values.slice().sort();
  let present = sorted.length;
  while (present > 0 && Number.isNaN(sorted[present - 1]!)) present--;
  const hasMissing = present < sorted.length;
  const limits = binLimits(sorted.subarray(0, present), maxBins - (hasMissing ? 1 : 0), minRowsInBin);
  const missingBin = hasMissing ? limits.length + 1 : undefined;
  const column = {
    limits,
    bins: limits.length + (hasMissing ? 2 : 1),
    missingBin,
    codes: new Uint8Array(values.length),
  };
  for (let row = 0; row < values.length; row++) column.codes[row] = binOf(column, values[row]!);
  return column;
}

/** LightGBM's greedy search: values that fill a bin alone get one, the rest is cut into equal counts. */
function binLimits(sorted: Float32Array, maxBins: number, minRowsInBin: number): Float64Array {
  const { distinct, counts } = countDistinct(sorted);
  const limits: number[] = [];
  const limitAfter = (index: number) => limits.push(float32Between(distinct[index]!, distinct[index + 1]!));
  if (distinct.length <= maxBins) {
    let rowsInBin = 0;
    for (let index = 0; index + 1 < distinct.length; index++) {
      rowsInBin += counts[index]!;
      if (rowsInBin < minRowsInBin) continue;
      limitAfter(index);
      rowsInBin = 0;
    }
    return Float64Array.from(limits);
  }
  let restBins = Math.max(1, Math.min(maxBins, Math.floor(sorted.length / minRowsInBin)));
  const meanRows = sorted.length / restBins;
  const isBig = counts.map((count) => count >= meanRows);
  let restRows = sorted.length;
  for (let index = 0; index < counts.length; index++) {
    if (!isBig[index]) continue;
    restBins--;
    restRows -= counts[index]!;
  }
  let targetRows = restRows / Math.max(1, restBins);
  let rowsInBin = 0;
  for (let index = 0; index + 1 < distinct.length; index++) {
    if (!isBig[index]) restRows -= counts[index]!;
    rowsInBin += counts[index]!;
    const full =
      isBig[index] || rowsInBin >= targetRows || (isBig[index + 1] && rowsInBin >= Math.max(1, targetRows / 2));
    if (!full) continue;
    limitAfter(index);
    if (limits.length >= maxBins - 1) break;
    rowsInBin = 0;
    if (!isBig[index]) targetRows = restRows / Math.max(1, --restBins);
  }
  return Float64Array.from(limits);
}

function countDistinct(sorted: Float32Array): { distinct: number[]; counts: number[] } {
  const distinct: number[] = [];
  const counts: number[] = [];
  for (const value of sorted) {
    if (value === distinct.at(-1)) counts[counts.length - 1]!++;
    else {
      distinct.push(value);
      counts.push(1);
    }
  }
  return { distinct, counts };
}

/** A float32 `t` with `below ≤ t < above`, near the middle: no rounding can put one of the two on the other side. */
function float32Between(below: number, above: number): number {
  const middle = Math.fround(below / 2 + above / 2);
  return middle >= below && middle < above ? middle : below;
}
