import { LruMap } from '../model/lru-map.js';
import { thousandths } from './keyed-windows.js';

/** Saved form of each template: residuals seen, their running mean, and the sums of the regression. */
export type RecentShiftState = readonly (readonly [
  template: string,
  count: number,
  mean: number,
  squares: number,
  products: number,
])[];

interface Residuals {
  count: number;
  /** Running mean of the residuals. */
  mean: number;
  /** Sums of mean², and of mean × residual, over what came after that mean. */
  squares: number;
  products: number;
}

/** Fewer residuals say nothing. */
const MIN_COUNT = 4;
/** In logarithms, a factor of e: one outlier must not shift what comes after it. */
const MAX_RESIDUAL = 1;
/** About the last thousand residuals tell how much of a shift lasts. */
const KEPT = 0.999;
/** Squares as large as those of so many shifts by the whole of {@link MAX_RESIDUAL} must be seen before half of a shift is believed. */
const PRIOR_SQUARES = 3;

/** Where nothing is known. */
export const NO_SHIFT = { mean: 0, shift: 0 };

/**
 * By how much what comes next will lie above or below what a model says, because what came last did: like tasks follow each other (the questions of one subject, one
 * project for an afternoon), and neither trees nor medians of a hundred calls see that. A running mean of the model's residuals, times the part of it that
 * has been found again in what followed (a regression that is learned online): where nothing lasts, nothing is shifted.
 */
export class RecentShift {
  private readonly records: LruMap<string, Residuals>;

  /** @param memory So many of the newest residuals make the mean, about. */
  constructor(
    maxCells: number,
    private readonly memory: number,
  ) {
    this.records = new LruMap(maxCells);
  }

  /** Mean of the last residuals of a template, and the part of it that lasts, which is to be added to what comes next; 0 while there are few. */
  of(template: string): { readonly mean: number; readonly shift: number } {
    const record = this.records.peek(template);
    if (!record || record.count < MIN_COUNT) return NO_SHIFT;
    const { mean, squares, products } = record;
    return { mean, shift: mean * Math.max(0, Math.min(1, products / (squares + PRIOR_SQUARES))) };
  }

  /**
   * Learns how far something came out above what the model had said, both in logarithms.
   *
   * @param meanThen The mean that {@link of} told when it began.
   */
  observe(template: string, meanThen: number, residual: number): void {
    let record = this.records.get(template);
    if (!record) {
      record = { count: 0, mean: 0, squares: 0, products: 0 };
      this.records.set(template, record);
    }
    const clamped = Math.max(-MAX_RESIDUAL, Math.min(MAX_RESIDUAL, residual));
    record.count += 1;
    record.mean += (clamped - record.mean) / Math.min(record.count, this.memory);
    record.squares = record.squares * KEPT + meanThen * meanThen;
    record.products = record.products * KEPT + meanThen * clamped;
  }

  state(): RecentShiftState {
    return [...this.records].map(([template, { count, mean, squares, products }]) => [
      template,
      count,
      ...([thousandths(mean), thousandths(squares), thousandths(products)] as const),
    ]);
  }

  restore(state: RecentShiftState): void {
    for (const [template, count, mean, squares, products] of state) {
      this.records.set(template, { count, mean, squares, products });
    }
  }
}
