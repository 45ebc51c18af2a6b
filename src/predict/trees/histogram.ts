import type { BinnedMatrix } from './bins.js';

/** Numbers kept of each bin: sum of gradients, sum of hessians, rows. */
export const SLOTS = 3;

/** The bins of all columns, laid out behind each other in one array. */
export class HistogramLayout {
  /** Where the slots of each column start. */
  readonly offsets: Int32Array;
  readonly length: number;

  constructor(readonly matrix: BinnedMatrix) {
    this.offsets = new Int32Array(matrix.binned.length);
    let length = 0;
    matrix.binned.forEach((column, index) => {
      this.offsets[index] = length;
      length += column.bins * SLOTS;
    });
    this.length = length;
  }

  /** Sums gradients and hessians of `rows` by bin. `ordered` has the derivatives of `rows`, in their order. */
  fill(histogram: Float64Array, columns: Int32Array, rows: Int32Array, ordered: Float64Array): void {
    for (const column of columns) {
      const { codes, bins } = this.matrix.binned[column]!;
      const offset = this.offsets[column]!;
      histogram.fill(0, offset, offset + bins * SLOTS);
      addRows(histogram, offset, codes, rows, ordered);
    }
  }

  /** `from -= other`: what is left of a parent is the other child. */
  subtract(from: Float64Array, other: Float64Array, columns: Int32Array): void {
    for (const column of columns) {
      const start = this.offsets[column]!;
      const end = start + this.matrix.binned[column]!.bins * SLOTS;
      for (let slot = start; slot < end; slot++) from[slot]! -= other[slot]!;
    }
  }
}

function addRows(
  histogram: Float64Array,
  offset: number,
  codes: Uint8Array,
  rows: Int32Array,
  ordered: Float64Array,
): void {
  for (let index = 0; index < rows.length; index++) {
    const slot = offset + codes[rows[index]!]! * SLOTS;
    histogram[slot]! += ordered[2 * index]!;
    histogram[slot + 1]! += ordered[2 * index + 1]!;
    histogram[slot + 2]! += 1;
  }
}
