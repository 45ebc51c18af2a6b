import type { StageFeatures } from '../model/stage.js';
import { TEXT_GRAMS } from '../model/text-grams.js';
import type { TextVector } from '../model/text-vector.js';
import { thousandths } from './keyed-windows.js';

/** Saved form: what has been learned, and the weight and sum of squares of each gram that has been seen. */
export interface TextArmState {
  readonly calls: number;
  readonly grams: readonly (readonly [gram: number, weight: number, squares: number])[];
  /** The same of each number of the vectors, and whose vectors they are; absent where no embedder was asked. */
  readonly vector?:
    | { readonly embedder: string; readonly weights: readonly number[]; readonly squares: readonly number[] }
    | undefined;
}

/** What is known of a text. */
type TextFeatures = Pick<StageFeatures, 'textGrams' | 'textVector'>;

/** Calls before which it says nothing. */
const MIN_CALLS = 50;
/** Step of AdaGrad in log tokens. Found on recorded prompts, as is the next. */
const STEP = 0.3;
/** Residuals beyond this count as this: an answer of ten times the length must not turn a common word. */
const MAX_RESIDUAL = 1;
const ADAGRAD_START = 1;

/** Smaller than that of grams, whose values are as large but of which few are there at once. Steps of 0.1 and 1 were worse on recorded prompts; so was ridge regression (recursive least squares). */
const ADAGRAD_START_OF_VECTORS = 0.1;

/**
 * What the words of a message say about the length of the answer, beside what is known of the role: a linear model on hashed words and pairs, and on the numbers of a sentence embedder where there is one,
 * learned online by AdaGrad (Duchi et al. 2011) with Huber's loss. The residual in log tokens is a feature of the trees, which decide where it is worth something: on recorded workflows hardly
 * anywhere, where each call is a workflow of its own more.
 */
export class TextArm {
  private calls = 0;
  /** Made when the first text comes: most fleets send none. */
  private weights: Float32Array | undefined;
  private squares: Float32Array | undefined;
  private ofVector: VectorWeights | undefined;

  get isEmpty(): boolean {
    return this.calls === 0;
  }

  /** Log tokens above or below what the role suggests; NaN without a text, and before enough has been seen. */
  estimate(text: TextFeatures): number {
    if (this.calls < MIN_CALLS || !this.knows(text)) return Number.NaN;
    return this.sum(text);
  }

  /** Learns by how much an answer was longer than its role suggested, in log tokens. */
  observe(text: TextFeatures, residual: number): void {
    const { textGrams: grams = [], textVector: vector } = text;
    if ((grams.length === 0 && !vector) || Number.isNaN(residual)) return;
    this.calls += 1;
    if (grams.length > 0) {
      this.weights ??= new Float32Array(TEXT_GRAMS);
      this.squares ??= new Float32Array(TEXT_GRAMS);
    }
    // What was learned from another embedder says nothing of this one.
    if (vector && this.ofVector?.embedder !== vector.embedder) this.ofVector = emptyWeights(vector);
    const error = Math.max(-MAX_RESIDUAL, Math.min(MAX_RESIDUAL, residual - this.sum(text)));
    const gradient = error / Math.sqrt(grams.length);
    for (const gram of grams) {
      this.squares![gram]! += gradient * gradient;
      this.weights![gram]! += (STEP * gradient) / Math.sqrt(ADAGRAD_START + this.squares![gram]!);
    }
    if (!vector) return;
    const { weights, squares } = this.ofVector!;
    vector.values.forEach((value, index) => {
      const slope = error * value;
      squares[index]! += slope * slope;
      weights[index]! += (STEP * slope) / Math.sqrt(ADAGRAD_START_OF_VECTORS + squares[index]!);
    });
  }

  state(): TextArmState {
    const grams: (readonly [number, number, number])[] = [];
    this.squares?.forEach((squares, gram) => {
      if (squares > 0) grams.push([gram, thousandths(this.weights![gram]!), thousandths(squares)]);
    });
    return { calls: this.calls, grams, ...(this.ofVector && { vector: savedWeights(this.ofVector) }) };
  }

  restore({ calls, grams, vector }: TextArmState): void {
    this.calls = calls;
    if (vector) {
      const { embedder, weights, squares } = vector;
      this.ofVector = { embedder, weights: Float64Array.from(weights), squares: Float64Array.from(squares) };
    }
    if (grams.length === 0) return;
    this.weights = new Float32Array(TEXT_GRAMS);
    this.squares = new Float32Array(TEXT_GRAMS);
    for (const [gram, weight, squares] of grams) {
      this.weights[gram] = weight;
      this.squares[gram] = squares;
    }
  }

  private knows({ textGrams, textVector }: TextFeatures): boolean {
    if (this.weights && textGrams && textGrams.length > 0) return true;
    return textVector !== undefined && textVector.embedder === this.ofVector?.embedder;
  }

  private sum({ textGrams: grams, textVector: vector }: TextFeatures): number {
    let sum = 0;
    if (this.weights && grams && grams.length > 0) {
      for (const gram of grams) sum += this.weights[gram]!;
      sum /= Math.sqrt(grams.length);
    }
    const own = vector && vector.embedder === this.ofVector?.embedder ? this.ofVector.weights : undefined;
    return own && vector ? vector.values.reduce((total, value, index) => total + value * own[index]!, sum) : sum;
  }
}

interface VectorWeights {
  readonly embedder: string;
  readonly weights: Float64Array;
  readonly squares: Float64Array;
}

function savedWeights({ embedder, weights, squares }: VectorWeights): NonNullable<TextArmState['vector']> {
  return { embedder, weights: [...weights].map(thousandths), squares: [...squares].map(thousandths) };
}

function emptyWeights({ embedder, values }: TextVector): VectorWeights {
  return { embedder, weights: new Float64Array(values.length), squares: new Float64Array(values.length) };
}
