import { isObject } from '../model/json.js';
import { textGrams } from '../model/text-grams.js';
import type { BodyScan } from './json-scan.js';

/** Longer messages are not decoded: predictors do without their words. */
const MAX_MESSAGE_BYTES = 256 * 1024;

/** Text of the last message, in any of the APIs; undefined where it is long or broken, and empty where it has none. */
export function lastMessageText(body: Buffer, { messageOffsets, fields }: BodyScan): string | undefined {
  const start = messageOffsets.at(-2) ?? (fields.prompt ?? fields.input)?.start;
  const end = messageOffsets.at(-1) ?? (fields.prompt ?? fields.input)?.end;
  if (start === undefined || end === undefined || end - start > MAX_MESSAGE_BYTES) return undefined;
  let message: unknown;
  try {
    message = JSON.parse(body.toString('utf8', start, end));
  } catch {
    // The engine will say what is wrong inside a string.
    return undefined;
  }
  return textOf(message);
}

/** Hashed words of the last message; undefined where it has none, or is long. */
export function lastMessageGrams(body: Buffer, scan: BodyScan): number[] | undefined {
  const grams = textGrams(lastMessageText(body, scan) ?? '');
  return grams.length === 0 ? undefined : grams;
}

/** Text of a message, of its parts, of what a tool said. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map(textOf).join(' ');
  return isObject(value) ? textOf(value['content'] ?? value['text'] ?? value['output']) : '';
}
