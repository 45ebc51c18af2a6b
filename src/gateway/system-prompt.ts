import type { BodyScan } from './json-scan.js';
import { messageKind } from './request-fields.js';

/** Bytes of a body: `[start, end)`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Claude Code puts a block with a number that changes from call to call before its system prompt; vLLM takes it out. */
const BILLING_BLOCK = Buffer.from('x-anthropic-billing-header');
/** The block's text begins within so many bytes of the list's. */
const BLOCK_HEAD_BYTES = 64;
const CLOSE_BRACE = 0x7d;
const LETTER_N = 0x6e;

/**
 * The system prompt that stands in a field of its own, as the Messages API (`system`) and the Responses API (`instructions`) have it; the engine's
 * prompt begins with it.
 */
export function systemField(body: Buffer, scan: BodyScan): ByteRange | undefined {
  const range = scan.fields.system ?? scan.fields.instructions;
  // A null has no more to say than a field that is not there.
  if (!range || body[range.start] === LETTER_N) return undefined;
  const { start, end } = range;
  const head = body.subarray(start, Math.min(end, start + BLOCK_HEAD_BYTES));
  const block = head.indexOf(BILLING_BLOCK);
  return block < 0 ? range : { start: body.indexOf(CLOSE_BRACE, start + block) + 1, end };
}

/** The system prompt of a request, wherever its API has it. */
export function systemPrompt(body: Buffer, scan: BodyScan): ByteRange | undefined {
  const field = systemField(body, scan);
  if (field) return field;
  const [start, end] = scan.messageOffsets;
  if (start === undefined || end === undefined || messageKind(body, scan, 0) !== 'system') return undefined;
  return { start, end };
}
