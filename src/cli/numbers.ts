import { InvalidArgumentError } from 'commander';

/** Parsers of numeric options; each throws what commander shows beside the name of the option. */

/** The number that a text is; of a blank one, which is 0 to JavaScript, NaN: a variable that is not set has been passed on. */
function numberIn(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}

export function positive(text: string): number {
  const value = numberIn(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('It must be a positive number.');
  return value;
}

export function nonNegative(text: string): number {
  return text.trim() === '0' ? 0 : positive(text);
}

export function integer(text: string): number {
  const value = numberIn(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

export function positiveInteger(text: string): number {
  const value = numberIn(text);
  if (!(value > 0 && Number.isSafeInteger(value))) {
    throw new InvalidArgumentError('It must be a positive whole number.');
  }
  return value;
}

export function twoOrMore(text: string): number {
  const value = numberIn(text);
  if (!(value >= 2 && Number.isSafeInteger(value)))
    throw new InvalidArgumentError('It must be a whole number, 2 or more.');
  return value;
}

export function nonNegativeInteger(text: string): number {
  const value = numberIn(text);
  if (!(value >= 0 && Number.isSafeInteger(value))) {
    throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  }
  return value;
}

/** A share between nothing and all, neither of them. */
export function fraction(text: string): number {
  const value = numberIn(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('It must be between 0 and 1.');
  return value;
}

/** A share between nothing and all; nothing is one too. */
export function fractionOrNone(text: string): number {
  return numberIn(text) === 0 ? 0 : fraction(text);
}

/** A share between nothing and all; all is one too. */
export function fractionOrAll(text: string): number {
  return Number(text) === 1 ? 1 : fraction(text);
}

export function port(text: string): number {
  const value = numberIn(text);
  if (!(value >= 0 && value <= 65_535 && Number.isInteger(value)))
    throw new InvalidArgumentError('It must be a port from 0 to 65535.');
  return value;
}
