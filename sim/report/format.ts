/** Numbers as people read them. A missing number is an en dash everywhere. */

export const MISSING = '–';

type Maybe = number | null | undefined;

function isMissing(value: Maybe): value is null | undefined {
  return value === null || value === undefined || !Number.isFinite(value);
}

/** Fixed decimals without trailing zeros: 1.50 → "1.5", 2.00 → "2". Never "-0". */
export function trimmed(value: number, decimals: number): string {
  const text = value.toFixed(decimals);
  const short = text.includes('.') ? text.replace(/\.?0+$/, '') : text;
  return short === '-0' ? '0' : short;
}

/** About three significant digits. */
function significant(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return trimmed(value, size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** A duration: "0.42 ms", "340 ms", "2.4 s", "3 min 20 s", "2 h 5 min". */
export function formatMs(ms: Maybe): string {
  if (isMissing(ms)) return MISSING;
  if (ms < 0) return `−${formatMs(-ms)}`;
  if (ms === 0) return '0 s';
  if (ms < 999.5) return `${significant(ms)} ms`;
  if (ms < 59_950) return `${significant(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return withRest(Math.floor(seconds / 60), 'min', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 60 * 48) return withRest(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  return `${significant(minutes / 60 / 24)} d`;
}

function withRest(whole: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${restUnit}`;
}

/** A share 0..1 as a percentage: "98.4 %"; never rounds up to 100 % or down to 0 %. */
export function formatPercent(share: Maybe, decimals = 1): string {
  if (isMissing(share)) return MISSING;
  const percent = share * 100;
  const step = 10 ** -decimals;
  if (percent > 0 && percent < step / 2) return `< ${trimmed(step, decimals)} %`;
  if (percent < 100 && percent > 100 - step / 2) return `> ${trimmed(100 - step, decimals)} %`;
  return `${trimmed(percent, decimals)} %`;
}

/** A count or a plain number: "842", "12.3 k", "4.1 M". */
export function formatNumber(value: Maybe): string {
  if (isMissing(value)) return MISSING;
  const size = Math.abs(value);
  if (size < 9999.5) return size >= 1000 ? value.toFixed(0) : significant(value);
  if (size < 999_500) return `${significant(value / 1e3)} k`;
  if (size < 999_500_000) return `${significant(value / 1e6)} M`;
  return `${significant(value / 1e9)} G`;
}

/** Bytes in decimal units: "80 GB". */
export function formatBytes(bytes: Maybe): string {
  if (isMissing(bytes)) return MISSING;
  for (const [unit, name] of BYTE_UNITS) {
    if (Math.abs(bytes) >= unit * 0.9995) return `${significant(bytes / unit)} ${name}`;
  }
  return `${significant(bytes)} B`;
}

const BYTE_UNITS = [
  [1e15, 'PB'],
  [1e12, 'TB'],
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
] as const;

/** GPU memory, in the binary units that cards are sold by: "80 GiB". */
export function formatGib(bytes: Maybe): string {
  return isMissing(bytes) ? MISSING : `${significant(bytes / 2 ** 30)} GiB`;
}

/** KV memory over time: "12 TB·s", or "12 M tokens·s" where only tokens are known. */
export function formatKvSeconds(value: Maybe, unit: 'bytes' | 'tokens'): string {
  if (isMissing(value)) return MISSING;
  return unit === 'bytes' ? `${formatBytes(value)}·s` : `${formatNumber(value)} tokens·s`;
}

/**
 * Events per second, in the unit that reads best: "3.2 /s", "12 /min", "5 /h".
 *
 * @param like Another rate, which chooses the unit: numbers that stand below each other are compared.
 */
export function formatRate(perSecond: Maybe, like: Maybe = perSecond): string {
  if (isMissing(perSecond)) return MISSING;
  const chooses = isMissing(like) ? perSecond : like;
  if (chooses === 0 || chooses >= 1) return `${formatNumber(perSecond)} /s`;
  if (chooses * 60 >= 1) return `${significant(perSecond * 60)} /min`;
  return `${significant(perSecond * 3600)} /h`;
}

/** A ratio: "1.8×". */
export function formatRatio(ratio: Maybe): string {
  return isMissing(ratio) ? MISSING : `${significant(ratio)}×`;
}

/** "1 workflow", "2 workflows". */
export function counted(count: number, one: string): string {
  return `${formatNumber(count)} ${one}${count === 1 ? '' : 's'}`;
}
