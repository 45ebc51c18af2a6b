import { nextExponential, nextNormal, type Rng } from '../../src/model/rng.js';

/** A client's arrivals in one window, as the source fits them. */
export interface RateWindow {
  readonly startS: number;
  readonly requestsPerSecond: number;
  /** Family of the gaps between arrivals; anything but these two is drawn as exponential. */
  readonly family: 'gamma' | 'weibull' | 'exponential';
  /** Shape of the family: below 1 is burstier than Poisson arrivals. */
  readonly shape: number;
}

/** More requests of one client than any service has: such a rate is a mistake. */
const HIGHEST_RATE = 10_000;

/** Lines `start_s,rate,cv,family,shape,scale`, in the order of time, one for each start. Undefined when the text is something else. */
export function parseWindows(text: string): RateWindow[] | undefined {
  const windows = new Map<number, RateWindow>();
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const [start, rate, , family = '', shape = ''] = line.trim().split(',');
    const startS = Number(start);
    const requestsPerSecond = Number(rate);
    if (!(startS >= 0 && requestsPerSecond >= 0 && requestsPerSecond <= HIGHEST_RATE)) return undefined;
    const known = family === 'Gamma' ? 'gamma' : family === 'Weibull' ? 'weibull' : 'exponential';
    windows.set(
      startS,
      Number(shape) > 0
        ? { startS, requestsPerSecond, family: known, shape: Number(shape) }
        : { startS, requestsPerSecond, family: 'exponential', shape: 1 },
    );
  }
  return [...windows.values()].sort((a, b) => a.startS - b.startS);
}

/** Length of each window: until the next, but no longer than the others are, as a window may be missing. `aloneS` where there is but one. */
export function windowLengthS(windows: readonly RateWindow[], aloneS: number): number {
  const gaps = windows.slice(1).map(({ startS }, index) => startS - windows[index]!.startS);
  return gaps.length === 0 ? aloneS : Math.min(...gaps);
}

/**
 * As many arrivals as the window's rate says, in seconds after its start, ascending. The gaps are drawn from the fitted family and scaled
 * to fill the window, so the count is recorded and the burstiness fitted.
 */
export function drawArrivals(window: RateWindow, lengthS: number, rng: Rng): number[] {
  const count = Math.round(window.requestsPerSecond * lengthS);
  if (count === 0) return [];
  const gaps = Array.from({ length: count + 1 }, () => drawGap(window, rng));
  const sum = gaps.reduce((total, gap) => total + gap, 0);
  // A very small shape can underflow to nothing but zeros.
  if (sum === 0) return Array.from({ length: count }, () => rng.next() * lengthS).sort((a, b) => a - b);
  let atS = 0;
  return gaps.slice(0, count).map((gap) => {
    atS += (gap / sum) * lengthS;
    return Math.min(atS, lengthS);
  });
}

/** A gap of unit scale. */
function drawGap({ family, shape }: RateWindow, rng: Rng): number {
  if (family === 'gamma') return drawGamma(shape, rng);
  const exponential = nextExponential(rng, 1);
  return family === 'weibull' ? exponential ** (1 / shape) : exponential;
}

/** Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with their boost for shapes below 1. */
function drawGamma(shape: number, rng: Rng): number {
  if (shape < 1) return drawGamma(shape + 1, rng) * (1 - rng.next()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = nextNormal(rng);
    const v = (1 + c * normal) ** 3;
    if (v > 0 && Math.log(1 - rng.next()) < normal ** 2 / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** Of the trace format. */
const LONGEST_TOKENS = 100_000_000;

/** An empirical distribution over whole numbers. */
export class Histogram {
  private constructor(
    private readonly values: readonly number[],
    private readonly cumulative: readonly number[],
  ) {}

  /** From the text of a Python dict, `{45: 0.0097, 46: 0.0117}`; undefined for an empty one. */
  static parse(text: string): Histogram | undefined {
    const values: number[] = [];
    const cumulative: number[] = [];
    let sum = 0;
    for (const [, value, weight] of text.matchAll(/(\d+(?:\.\d+)?)\s*:\s*([\d.]+(?:e[-+]?\d+)?)/gi)) {
      if (!(Number(weight) > 0 && Number(value) <= LONGEST_TOKENS)) continue;
      sum += Number(weight);
      values.push(Math.round(Number(value)));
      cumulative.push(sum);
    }
    return values.length === 0 ? undefined : new Histogram(values, cumulative);
  }

  draw(rng: Rng): number {
    const level = rng.next() * this.cumulative.at(-1)!;
    let low = 0;
    let high = this.values.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.cumulative[middle]! > level) high = middle;
      else low = middle + 1;
    }
    return this.values[low]!;
  }
}
