import { MaestroError } from '../model/error.js';

/** A prompt of so many tokens, none of them cached, alone on the engine. */
export interface PrefillSample {
  readonly promptTokens: number;
  readonly ttftMs: number;
}

/** So many sequences decode together, each with so much context on average. */
export interface DecodeSample {
  readonly batch: number;
  readonly contextTokens: number;
  readonly tpotMs: number;
}

/** What work costs on one engine as it was measured, milliseconds: straight lines that a router can add up. */
export interface MeasuredCosts {
  /** Before the first prompt token: the way to the server, tokenising, the first step. */
  readonly requestMs: number;
  readonly prefillMsPerToken: number;
  /** A decode step of one short sequence, and what each further sequence and each token of context add to it. */
  readonly stepMs: number;
  readonly stepMsPerSequence: number;
  readonly stepMsPerContextToken: number;
}

/** Relative errors of a fit on its own samples. */
export interface FitError {
  readonly median: number;
  readonly largest: number;
}

export interface Calibration {
  readonly costs: MeasuredCosts;
  readonly prefill: FitError;
  readonly decode: FitError;
}

/** As many as a line has coefficients. */
export const MIN_PREFILL_SAMPLES = 2;
export const MIN_DECODE_SAMPLES = 3;

/**
 * Least squares of relative errors: TTFT = request + prompt × a; TPOT = step + (batch − 1) × b + batch × context × c. Nothing costs less than nothing: a
 * coefficient that comes out negative is left out. So are samples that took no time: a client without CPU time to spare reads all tokens of an answer at once, and that says
 * nothing of the engine. Throws where too few are left.
 */
export function fitCosts(allPrefill: readonly PrefillSample[], allDecode: readonly DecodeSample[]): Calibration {
  const prefill = allPrefill.filter(({ ttftMs }) => ttftMs > 0);
  const decode = allDecode.filter(({ tpotMs }) => tpotMs > 0);
  if (prefill.length < MIN_PREFILL_SAMPLES || decode.length < MIN_DECODE_SAMPLES) {
    throw new MaestroError(
      'internal',
      'Answers came all at once, so no time a token can be told from them: this machine is too busy to measure. Try again when it is idle, from another one, or with a larger --output.',
    );
  }
  const prompt = leastSquares(
    prefill.map(({ promptTokens, ttftMs }) => ({ features: [1, promptTokens], value: ttftMs })),
  );
  const step = leastSquares(
    decode.map(({ batch, contextTokens, tpotMs }) => ({
      features: [1, batch - 1, batch * contextTokens],
      value: tpotMs,
    })),
  );
  return {
    costs: {
      requestMs: prompt.coefficients[0]!,
      prefillMsPerToken: prompt.coefficients[1]!,
      stepMs: step.coefficients[0]!,
      stepMsPerSequence: step.coefficients[1]!,
      stepMsPerContextToken: step.coefficients[2]!,
    },
    prefill: prompt.error,
    decode: step.error,
  };
}

interface Row {
  readonly features: readonly number[];
  readonly value: number;
}

function leastSquares(rows: readonly Row[]): { readonly coefficients: readonly number[]; readonly error: FitError } {
  const width = rows[0]?.features.length ?? 0;
  let used = Array.from({ length: width }, (_, index) => index);
  for (;;) {
    const solved = solve(rows, used);
    const negative = used.filter((_, place) => solved[place]! < 0);
    if (negative.length === 0) {
      const coefficients = Array.from({ length: width }, (_, index) => solved[used.indexOf(index)] ?? 0);
      return { coefficients, error: errorOf(rows, coefficients) };
    }
    used = used.filter((index) => index !== negative.at(-1));
  }
}

/** Normal equations of the rows divided by their values, by Gauss with pivots; a feature that tells nothing gets 0. */
function solve(rows: readonly Row[], used: readonly number[]): number[] {
  const size = used.length;
  const matrix = Array.from({ length: size }, () => new Array<number>(size + 1).fill(0));
  for (const { features, value } of rows) {
    const scaled = used.map((index) => features[index]! / value);
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) matrix[row]![column]! += scaled[row]! * scaled[column]!;
      matrix[row]![size]! += scaled[row]!;
    }
  }
  const largest = Math.max(1e-300, ...matrix.map((row, index) => Math.abs(row[index]!)));
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column; row < size; row++) {
      if (Math.abs(matrix[row]![column]!) > Math.abs(matrix[pivot]![column]!)) pivot = row;
    }
    [matrix[column], matrix[pivot]] = [matrix[pivot]!, matrix[column]!];
    const head = matrix[column]!;
    if (Math.abs(head[column]!) < largest * 1e-15) {
      head.fill(0);
      head[column] = 1;
      continue;
    }
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const factor = matrix[row]![column]! / head[column]!;
      for (let place = column; place <= size; place++) matrix[row]![place]! -= factor * head[place]!;
    }
  }
  return matrix.map((row, index) => row[size]! / row[index]!);
}

function errorOf(rows: readonly Row[], coefficients: readonly number[]): FitError {
  const errors = rows
    .map(({ features, value }) => {
      const fitted = features.reduce((sum, feature, index) => sum + feature * coefficients[index]!, 0);
      return Math.abs(fitted - value) / value;
    })
    .sort((a, b) => a - b);
  return { median: errors[Math.floor(errors.length / 2)] ?? 0, largest: errors.at(-1) ?? 0 };
}
