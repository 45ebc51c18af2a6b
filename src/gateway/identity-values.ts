/** Longest identity value (workflow, role, tenant, …) that is taken. */
const MAX_IDENTITY_LENGTH = 128;

const IDENTITY = /^[A-Za-z0-9][A-Za-z0-9 ._:@/+=~#|-]*$/;

/** Is this text fit to be an identity? Letters, digits and a few marks: safe in headers, logs and file names of any later use. */
export function isIdentityValue(text: string): boolean {
  return text.length > 0 && text.length <= MAX_IDENTITY_LENGTH && IDENTITY.test(text);
}

/** The same text in memory of its own. A part of a string holds on to all of it: the name of a run, which is kept for long, to the head of its request with the key in it. */
export function ownText(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** The value when it is fit to be an identity, else undefined. Anything else a client sends is ignored, never an error. */
export function identityValue(value: unknown): string | undefined {
  if (typeof value === 'string') {
    const text = value.trim();
    return isIdentityValue(text) ? ownText(text) : undefined;
  }
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? String(value) : undefined;
}

/** A duration in milliseconds from text or number; undefined unless it is positive and at most a year. */
export function durationMs(value: unknown, unitMs: number): number | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  if (typeof value === 'string' && !/^[0-9]{1,12}(\.[0-9]{1,6})?$/.test(value)) return undefined;
  const ms = Number(value) * unitMs;
  return ms > 0 && ms <= 366 * 24 * 3_600_000 ? ms : undefined;
}
