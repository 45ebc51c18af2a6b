import { z } from 'zod';
import { LEAST_KEY_LENGTH } from '../model/api-key.js';
import { parseQuantity, type QuantityKind, quantityHelp } from './quantity.js';
import { Secret } from './secret.js';

function quantity(kind: QuantityKind, zero: 'allowed' | 'refused' = 'allowed') {
  return z
    .union([z.number(), z.string()])
    .transform((written, context) => {
      const value = typeof written === 'number' ? written : parseQuantity(kind, written);
      if (value === 0 && zero === 'refused') {
        context.addIssue({ code: 'custom', message: 'must be above 0' });
        return z.NEVER;
      }
      if (value !== undefined && value >= 0 && Number.isFinite(value)) return value;
      const { what, fix } = quantityHelp(kind);
      context.addIssue({ code: 'custom', message: `is not ${what}`, params: { fix } });
      return z.NEVER;
    })
    .meta({ unit: kind });
}

/** A size, given as bytes. */
export const bytes = () => quantity('bytes');
/** A duration, given as milliseconds. */
export const duration = () => quantity('duration');
/** A duration that cannot be nothing: a deadline or limit of 0 would be missed by everything. */
export const positiveDuration = () => quantity('duration', 'refused');
/** A transfer rate, given as bytes a second. */
export const rate = () => quantity('rate');
/** An arithmetic rate, given as FLOP a second. */
export const flops = () => quantity('flops');

/** A name that is safe in URLs, headers and metric labels. */
export const identifier = () =>
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
    error: 'must be 1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit',
  });

/** A model's name as clients write it; Hugging Face ids have a slash. */
export const modelName = () =>
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}$/, {
    error: 'must be 1 to 127 letters, digits or any of . _ : / -, beginning with a letter or digit',
  });

/** The name of an environment variable. */
export const envName = () =>
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'must be the name of an environment variable' });

/** A value that is never printed. */
export const secret = () =>
  z
    .string()
    .min(LEAST_KEY_LENGTH)
    .transform((value) => new Secret(value))
    .meta({ unit: 'secret' });

type Renamed<T, Names extends Partial<Record<keyof T, string>>> = {
  [Key in keyof T as Key extends keyof Names ? Names[Key] & string : Key]: T[Key];
};

/** Gives parsed fields the name that the house uses for them, with the unit: `ttft` in the file is `ttftMs` in the code. */
export function rename<T extends object, const Names extends Partial<Record<keyof T, string>>>(names: Names) {
  const table = new Map<string, string>(Object.entries(names) as [string, string][]);
  return (section: T): Renamed<T, Names> =>
    Object.fromEntries(Object.entries(section).map(([key, value]) => [table.get(key) ?? key, value])) as Renamed<
      T,
      Names
    >;
}
