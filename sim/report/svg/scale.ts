/** Maps values to pixels and says where an axis is marked. */
export interface Scale {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
  /** Pixel of a value; values beyond the domain stand at its edge. */
  at(value: number): number;
}

/** Multiples of 1, 2 or 5 × 10^k from `min` to `max` inclusive, about `count` of them. */
export function niceTicks(min: number, max: number, count: number): number[] {
  return multiples(min, max, niceStep((max - min) / Math.max(1, count)));
}

/** Steps of time that people count in, milliseconds, from one second up. */
const TIME_STEPS_MS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
].map((seconds) => seconds * 1000);

/** Ticks for milliseconds: seconds, quarters of a minute, minutes, hours, days; 1-2-5 steps below a second. */
export function timeTicks(minMs: number, maxMs: number, count: number): number[] {
  const ideal = (maxMs - minMs) / Math.max(1, count);
  if (ideal < 1000) return multiples(minMs, maxMs, niceStep(ideal));
  const day = TIME_STEPS_MS.at(-1)!;
  const step = TIME_STEPS_MS.find((candidate) => candidate >= ideal * 0.8) ?? niceStep(ideal / day) * day;
  return multiples(minMs, maxMs, step);
}

function niceStep(ideal: number): number {
  if (!(ideal > 0) || !Number.isFinite(ideal)) return 1;
  const power = 10 ** Math.floor(Math.log10(ideal));
  const lead = ideal / power;
  return power * (lead <= 1.5 ? 1 : lead <= 3.5 ? 2 : lead <= 7.5 ? 5 : 10);
}

function multiples(min: number, max: number, step: number): number[] {
  const ticks: number[] = [];
  // Adding zero turns -0 into 0.
  const first = Math.ceil(min / step - 1e-9) + 0;
  const last = Math.floor(max / step + 1e-9);
  // Steps below 1 are divided, not multiplied, so that 3 × 0.1 is 0.3.
  const inverse = Math.round(1 / step);
  for (let index = first; index <= last; index++) ticks.push(step < 1 ? index / inverse : index * step);
  return ticks;
}

export interface LinearOptions {
  /** About how many ticks. */
  readonly count?: number;
  /** The values are milliseconds. */
  readonly time?: boolean;
  /** Moves `max` up to the next tick, so that the axis ends on one. */
  readonly roundMax?: boolean;
}

/** A linear scale from `domain` to pixels `range`. An empty domain is widened, so that it always has a length. */
export function linearScale(
  domain: readonly [number, number],
  range: readonly [number, number],
  { count = 5, time = false, roundMax = false }: LinearOptions = {},
): Scale {
  const [min] = domain;
  let max = domain[1] > min ? domain[1] : min + 1;
  const ticksTo = time ? timeTicks : niceTicks;
  let ticks = ticksTo(min, max, count);
  if (roundMax && ticks.length >= 2 && ticks.at(-1)! < max) {
    max = ticks.at(-1)! + (ticks[1]! - ticks[0]!);
    ticks = [...ticks, max];
  }
  const slope = (range[1] - range[0]) / (max - min);
  return {
    min,
    max,
    ticks,
    at: (value) => range[0] + (Math.min(Math.max(value, min), max) - min) * slope,
  };
}

/** Marks of a logarithmic axis of time from one second up, as people count: the major ones stay where not all have room. */
const TIME_MARKS_MS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18_000, 36_000, 86_400].map(
  (seconds) => seconds * 1000,
);
const MAJOR_TIME_MARKS_MS = new Set([1000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000]);

export interface LogOptions {
  readonly maxTicks?: number;
  /** The values are milliseconds. */
  readonly time?: boolean;
}

/** A logarithmic scale over at least the positive `domain`, rounded outwards to 1-2-5 values (or steps of time), which are its ticks. */
export function logScale(
  domain: readonly [number, number],
  range: readonly [number, number],
  { maxTicks = 8, time = false }: LogOptions = {},
): Scale {
  const low = Math.max(domain[0], Number.MIN_VALUE * 1e20);
  const high = Math.max(domain[1], low * 1.0001);
  const ladder: number[] = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)) + 1; power++) {
    for (const lead of [1, 2, 5]) ladder.push(Number(`${lead}e${power}`));
  }
  const marks = time
    ? [...ladder.filter((ms) => ms < 1000), ...TIME_MARKS_MS, ...ladder.filter((ms) => ms > 1e8)]
    : ladder;
  const min = marks.filter((value) => value <= low).at(-1) ?? ladder[0]!;
  const max = marks.find((value) => value >= high && value > min)!;
  const inside = marks.filter((value) => value >= min && value <= max);
  const isDecade = (value: number) => Number.isInteger(Math.round(Math.log10(value) * 1e9) / 1e9);
  const major = inside.filter((value) => (time && value >= 1000 ? MAJOR_TIME_MARKS_MS.has(value) : isDecade(value)));
  let ticks = inside.length <= maxTicks ? inside : major;
  if (ticks.length < 2) ticks = [min, max];
  const slope = (range[1] - range[0]) / Math.log(max / min);
  return {
    min,
    max,
    ticks,
    at: (value) => range[0] + Math.log(Math.min(Math.max(value, min), max) / min) * slope,
  };
}
