import { GB, GiB, HOUR_MS, KiB, MINUTE_MS, MiB, SECOND_MS, TB } from '../model/units.js';

/** What a number in the config measures. Plain numbers are in the base unit: bytes, milliseconds, bytes a second, FLOP a second. */
export type QuantityKind = 'bytes' | 'duration' | 'rate' | 'flops';

const SIZES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1000,
  MB: 1e6,
  GB,
  TB,
  KiB,
  MiB,
  GiB,
  TiB: 1024 * GiB,
};

interface Quantity {
  readonly units: Readonly<Record<string, number>>;
  readonly what: string;
  readonly baseUnit: string;
  readonly example: string;
}

const QUANTITIES: Readonly<Record<QuantityKind, Quantity>> = {
  bytes: { units: SIZES, what: 'a size', baseUnit: 'bytes', example: '80GiB' },
  duration: {
    units: { ms: 1, s: SECOND_MS, m: MINUTE_MS, h: HOUR_MS, d: 24 * HOUR_MS },
    what: 'a duration',
    baseUnit: 'milliseconds',
    example: '30s',
  },
  rate: {
    units: Object.fromEntries(Object.entries(SIZES).map(([unit, factor]) => [`${unit}/s`, factor])),
    what: 'a transfer rate',
    baseUnit: 'bytes a second',
    example: '3.35TB/s',
  },
  flops: {
    units: { GFLOPS: 1e9, TFLOPS: 1e12, PFLOPS: 1e15 },
    what: 'an arithmetic rate',
    baseUnit: 'FLOP a second',
    example: '989TFLOPS',
  },
};

/** How a quantity is called and how it may be written, for error messages. */
export function quantityHelp(kind: QuantityKind): { readonly what: string; readonly fix: string } {
  const { what, baseUnit, example, units } = QUANTITIES[kind];
  return {
    what,
    fix: `Write for example ${example}; units: ${Object.keys(units).join(', ')}; a plain number is ${baseUnit}.`,
  };
}

/**
 * The value in the base unit, or undefined when the text is not such a quantity. Case and a space before the unit do not matter;
 * bytes are rounded to whole ones.
 */
export function parseQuantity(kind: QuantityKind, text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z/]+)\s*$/.exec(text);
  if (!match) return undefined;
  const wanted = match[2]!.toLowerCase();
  const unit = Object.entries(QUANTITIES[kind].units).find(([name]) => name.toLowerCase() === wanted);
  if (!unit) return undefined;
  const value = Number(match[1]) * unit[1];
  return kind === 'bytes' ? Math.round(value) : value;
}

/** Bytes for people: `79.6 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['TiB', 'GiB', 'MiB', 'KiB'] as const;
  for (const unit of units) {
    const factor = SIZES[unit]!;
    if (bytes >= factor) return `${Number((bytes / factor).toFixed(bytes >= 100 * factor ? 0 : 1))} ${unit}`;
  }
  return `${bytes} B`;
}
