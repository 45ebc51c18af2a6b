/** Longest key that a request may present; what is longer is not looked at. */
export const MAX_KEY_LENGTH = 512;

/** Shorter keys could be guessed by trying. */
export const LEAST_KEY_LENGTH = 8;

/** Can a request present this key? It stands after `Bearer ` in a header, where spaces end it and other alphabets have no one encoding. */
export function canBePresented(key: string): boolean {
  return key.length <= MAX_KEY_LENGTH && /^[\x21-\x7e]+$/.test(key);
}
