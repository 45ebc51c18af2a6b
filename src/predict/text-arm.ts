import { TEXT_GRAMS } from '../model/text-grams.js';
import { thousandths } from './keyed-windows.js';

/** Saved form: what has been learned, and the weight and sum of squares of each gram that has been seen. */
export interface TextArmState {
  readonly calls: number;
  readonly grams: readonly (readonly [gram: number, weight: number, squares: number])[];
}

/** Calls before which it says nothing. */
const MIN_CALLS = 50;
/** Step of AdaGrad in log tokens. Found on recorded prompts, as is the next. */
const STEP = 0.3;
/** Residuals beyond this count as this: an answer of ten times the length must not turn a common word. */
const MAX_RESIDUAL = 1;
const ADAGRAD_START = 1;

/**
 * What the words of a message say about the length of the answer, beside what is known of the role: a linear model on hashed words and pairs, learned online
 * by AdaGrad (Duchi et al. 2011) with Huber's loss. The residual in log tokens is a feature of the trees, which decide where it is worth something: on recorded workflows hardly
 * anywhere, where each call is a workflow of its own more.
 */
export class TextArm {
  private calls = 0;
  /** Made when the first text comes: most fleets send none. */
  private weights: Float32Array | undefined;
  private squares: Float32Array | undefined;

  get isEmpty(): boolean {
    return this.calls === 0;
  }

  /** Log tokens above or below what the role suggests; NaN without a text, and before enough has been seen. */
  estimate(grams: readonly number[] | undefined): number {
    if (!grams || grams.length === 0 || !this.weights || this.calls < MIN_CALLS) return Number.NaN;
    return this.sum(grams);
  }

  /** Learns by how much an answer was longer than its role suggested, in log tokens. */
  observe(grams: readonly number[] | undefined, residual: number): void {
    if (!grams || grams.length === 0 || Number.isNaN(residual)) return;
    this.calls += 1;
    this.weights ??= new Float32Array(TEXT_GRAMS);
    this.squares ??= new Float32Array(TEXT_GRAMS);
    const error = Math.max(-MAX_RESIDUAL, Math.min(MAX_RESIDUAL, residual - this.sum(grams)));
    const gradient = error / Math.sqrt(grams.length);
    for (const gram of grams) {
      this.squares[gram]! += gradient * gradient;
      this.weights[gram]! += (STEP * gradient) / Math.sqrt(ADAGRAD_START + this.squares[gram]!);
    }
  }

  state(): TextArmState {
    const grams: (readonly [number, number, number])[] = [];
    this.squares?.forEach((squares, gram) => {
      if (squares > 0) grams.push([gram, thousandths(this.weights![gram]!), thousandths(squares)]);
    });
    return { calls: this.calls, grams };
  }

  restore({ calls, grams }: TextArmState): void {
    this.calls = calls;
    if (grams.length === 0) return;
    this.weights = new Float32Array(TEXT_GRAMS);
    this.squares = new Float32Array(TEXT_GRAMS);
    for (const [gram, weight, squares] of grams) {
      this.weights[gram] = weight;
      this.squares[gram] = squares;
    }
  }

  private sum(grams: readonly number[]): number {
    let sum = 0;
    for (const gram of grams) sum += this.weights![gram]!;
    return sum / Math.sqrt(grams.length);
  }
}
