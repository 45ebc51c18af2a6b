import { InvalidArgumentError } from 'commander';

/** Parsers of numeric options; each throws what commander shows beside the name of the option. */

export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('must be a positive number.');
  return value;
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isSafeInteger(value))) throw new InvalidArgumentError('must be a positive whole number.');
  return value;
}

export function nonNegative(text: string): number {
  return text.trim() === '0' ? 0 : positive(text);
}

/** A share between nothing and all, neither of them. */
export function fraction(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('must be between 0 and 1.');
  return value;
}
